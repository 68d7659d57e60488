redis.call("SET", prefix .. "ping", 1)
