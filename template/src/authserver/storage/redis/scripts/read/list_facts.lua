-- Names are UTF-8, in which no byte is 255.
local beginning = argument()
local rows = {}
for _, name in ipairs(redis.call("ZRANGEBYLEX", prefix .. "facts", "[" .. beginning, "(" .. beginning .. "\255")) do
  rows[#rows + 1] = redis.call("HGETALL", record_key("facts", name))
end
return rows
