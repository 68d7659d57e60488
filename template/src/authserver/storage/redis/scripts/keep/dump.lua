-- The next records of a table: how many ids were looked at, and those that are records. nil: writing went on.
local token, lease_ms, name, first, count = argument(), argument(), argument(), number_argument(), number_argument()
if redis.call("GET", prefix .. "maintenance") ~= token then
  return nil
end
redis.call("PEXPIRE", prefix .. "maintenance", lease_ms)
local ids, rows = redis.call("ZRANGE", prefix .. name, first, first + count - 1), {}
for _, id in ipairs(ids) do
  local row, parent = read(name, id), tables[name].parent
  if row and (not parent or exists(parent, row.grant_id)) then
    rows[#rows + 1] = flat(row)
  end
end
return { #ids, rows }
