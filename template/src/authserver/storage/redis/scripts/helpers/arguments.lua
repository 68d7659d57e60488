-- What every script begins with: its arguments, and the time, read once.
--
-- ARGV[1] is the prefix of all keys, ARGV[2] what the store is told from others by, or nothing; the values follow
-- in the order in which the script takes them: a row as its length and its columns with their values, a list as
-- its length and its items.

local prefix, identity = ARGV[1], ARGV[2]
local clock = redis.call("TIME")
local now = clock[1] + clock[2] / 1000000
local taken = 2

-- A store that was emptied would go on as if it were new.
local function is_ours()
  local checks = 0
  for _, name in ipairs(redis.call("ZRANGEBYLEX", prefix .. "facts", "[secret key check ", "(secret key check :")) do
    checks = checks + redis.call("EXISTS", prefix .. "facts/" .. name)
  end
  return checks > 0 and redis.call("HGET", prefix .. "facts/identity", "value") == identity
end

if identity ~= "" and not is_ours() then
  return redis.error_reply("LOST the store is another one")
end

local function argument()
  taken = taken + 1
  return ARGV[taken]
end

local function number_argument()
  return tonumber(argument())
end

local function row_argument()
  local row = {}
  for _ = 1, number_argument() do
    local column = argument()
    row[column] = argument()
  end
  return row
end

-- Lua writes a number with 14 digits, and a time has more.
local function text(number)
  return string.format("%.17g", number)
end

-- A row as a script answers it, and as HSET takes it: columns and values, one after the other.
local function flat(row)
  local list = {}
  for column, value in pairs(row) do
    list[#list + 1] = column
    list[#list + 1] = value
  end
  return list
end
