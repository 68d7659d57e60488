-- Records of one table that have ended; those that Redis dropped count, too: who asks goes on while there are any.
local name, limit = argument(), number_argument()
local deleted = 0
for _, id in ipairs(redis.call("ZRANGEBYSCORE", prefix .. name, "-inf", now, "LIMIT", 0, limit)) do
  if erase(name, id) then
    deleted = deleted + 1
  end
end
return deleted
