-- From now on nobody writes, for as long as whoever dumps asks for more in time.
local token, lease_ms = argument(), argument()
if redis.call("EXISTS", prefix .. "filling") == 1 then
  return false
end
return redis.call("SET", prefix .. "maintenance", token, "NX", "PX", lease_ms) and true
