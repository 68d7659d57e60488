-- All records of a table, by its order.
local name = argument()
local rows = {}
for _, id in ipairs(redis.call("ZRANGE", prefix .. name, 0, -1)) do
  local row = read(name, id)
  if row then
    rows[#rows + 1] = flat(row)
  end
end
return rows
