-- The spent token stays, the salt from which its successors were derived goes.
local limit, replay_seconds = number_argument(), number_argument()
local salted, before = list_key("refresh_tokens", "salted"), "(" .. text(now - replay_seconds)
local deleted = 0
for _, id in ipairs(redis.call("ZRANGEBYSCORE", salted, "-inf", before, "LIMIT", 0, limit)) do
  deleted = deleted + redis.call("HDEL", record_key("refresh_tokens", id), "salt")
  redis.call("ZREM", salted, id)
end
return deleted
