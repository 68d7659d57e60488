-- Store some records; false if somebody else undoes this restore.
local token, lease_ms = argument(), argument()
if redis.call("GET", prefix .. "filling") ~= token then
  return false
end
redis.call("SET", prefix .. "maintenance", token, "PX", lease_ms)
for _ = 1, number_argument() do
  local name, row = argument(), row_argument()
  store(name, row)
  if name == "grants" then
    redis.call("ZADD", list_key("clients", "used"), "XX", "GT", row.used_at, row.client_id)
  end
end
return true
