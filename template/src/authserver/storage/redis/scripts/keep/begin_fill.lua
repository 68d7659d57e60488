-- From now on nobody writes or opens the store; only facts may be there.
local token, lease_ms = argument(), argument()
if redis.call("EXISTS", prefix .. "maintenance", prefix .. "filling") > 0 then
  return "busy"
end
if redis.call("ZCARD", prefix .. "clients") + redis.call("ZCARD", prefix .. "users") > 0 then
  return "not empty"
end
redis.call("SET", prefix .. "filling", token)
redis.call("SET", prefix .. "maintenance", token, "PX", lease_ms)
return "ready"
