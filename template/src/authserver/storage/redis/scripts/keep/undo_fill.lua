-- Delete some of what a restore wrote: how many records, nil if somebody else does.
local token, lease_ms, count = argument(), argument(), number_argument()
if redis.call("GET", prefix .. "filling") ~= token then
  return nil
end
redis.call("SET", prefix .. "maintenance", token, "PX", lease_ms)
local deleted = 0
for name in pairs(tables) do
  if name ~= "facts" then
    for _, id in ipairs(redis.call("ZRANGE", prefix .. name, 0, count - 1)) do
      erase(name, id)
      deleted = deleted + 1
    end
  end
end
return deleted
