-- Bring the schema up to date; undo a restore that died. Answers what is to be done.
local known, token, lease_ms = number_argument(), argument(), argument()
local stored = tonumber(redis.call("GET", prefix .. "schema") or known)
if stored > known then
  return "schema " .. stored
end
redis.call("SET", prefix .. "schema", known)
if redis.call("EXISTS", prefix .. "filling") == 0 then
  return "ready"
end
if redis.call("EXISTS", prefix .. "maintenance") == 1 then
  return "filling"
end
redis.call("SET", prefix .. "filling", token)
redis.call("SET", prefix .. "maintenance", token, "PX", lease_ms)
return "torn"
