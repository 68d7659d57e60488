local client, place = row_argument(), argument()
local places, unused = list_key("clients", "places"), list_key("clients", "unused")
local weights = list_key("clients", "weights")

-- Where the unused clients of a network lie in `places`: their digits, then their ids.
local function range(digits)
  return "[" .. digits, "(" .. digits .. "\255"
end

-- The first share that is used up, the narrowest first; nil if none is.
local function full_network()
  local full
  for _ = 1, number_argument() do
    local digits, most = argument(), number_argument()
    if not full and redis.call("ZLEXCOUNT", places, range(digits)) >= most then
      full = digits
    end
  end
  return full
end

-- The heaviest network of so many digits among those of `members`; the new client counts. Of equal ones it is
-- the one with the youngest client.
local function heaviest(members, width)
  local weights, most = {}, 0
  weights[place:sub(1, width)] = 1
  for _, member in ipairs(members) do
    local digits = member:sub(1, width)
    weights[digits] = (weights[digits] or 0) + 1
    most = math.max(most, weights[digits])
  end
  local found, latest
  for _, member in ipairs(members) do
    local digits = member:sub(1, width)
    if weights[digits] == most then
      local since = tonumber(redis.call("ZSCORE", unused, member:sub(17)))
      if not latest or since > latest then
        found, latest = digits, since
      end
    end
  end
  return found
end

-- The same of all /48 and IPv4 /24, without a look at each client; nil if no network has more than one.
local function heaviest_of_all()
  local mine, most = place:sub(1, 12), tonumber(redis.call("ZRANGE", weights, -1, -1, "WITHSCORES")[2])
  local own = tonumber(redis.call("ZSCORE", weights, mine) or -1)
  if own >= most then
    return mine
  elseif most == 1 then
    return nil
  end
  local equal = redis.call("ZRANGEBYSCORE", weights, most, most)
  equal[#equal + 1] = own + 1 == most and mine or nil
  if #equal == 1 then
    return equal[1]
  end
  local among = {}
  for _, digits in ipairs(equal) do
    among[digits] = true
  end
  for from = 0, redis.call("ZCARD", unused), 100 do
    for _, id in ipairs(redis.call("ZREVRANGE", unused, from, from + 99)) do
      local digits = (redis.call("HGET", list_key("clients", "place"), id) or UNKNOWN_PLACE):sub(1, 12)
      if among[digits] then
        return digits
      end
    end
  end
  return equal[1]
end

-- Delete a client of the network that is full; return since when the new one has its place.
local function make_room(full)
  local digits = full == "" and heaviest_of_all() or full
  if digits == "" then
    -- Nobody has more than one: the one goes that has had its place for longest.
    erase_client(redis.call("ZRANGE", unused, 0, 0)[1])
    return text(now)
  end
  for _, width in ipairs({ 12, 14, 16 }) do
    if width > #digits then
      digits = heaviest(redis.call("ZRANGEBYLEX", places, range(digits)), width)
    end
  end
  local youngest, since
  for _, member in ipairs(redis.call("ZRANGEBYLEX", places, range(digits))) do
    local id = member:sub(17)
    local at = redis.call("ZSCORE", unused, id)
    if not since or tonumber(at) > tonumber(since) then
      youngest, since = id, at
    end
  end
  erase_client(youngest)
  return digits:sub(1, 12) == place:sub(1, 12) and since or text(now)
end

if exists("clients", client.client_id) then
  return true
end
local full = full_network()
local since = full and not client.completed_at and make_room(full) or text(now)
for _, column in ipairs({ "created_at", "approved_at", "completed_at" }) do
  client[column] = client[column] and since
end
redis.call("HSET", list_key("clients", "place"), client.client_id, place)
store("clients", client)
return true
