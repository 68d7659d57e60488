-- Bring the schema up to date; undo a restore that died. Answers what is to be done.

-- Release 0.2.0 counted unused clients by their address.
local function forget_addresses()
  local addresses = redis.call("ZRANGE", list_key("clients", "addresses"), 0, -1)
  for _, address in ipairs(addresses) do
    redis.call("DEL", value_key("clients", "address", address))
  end
  redis.call("DEL", list_key("clients", "addresses"), list_key("clients", "purgeable"))
  for _, id in ipairs(#addresses > 0 and redis.call("ZRANGE", list_key("clients", "unused"), 0, -1) or {}) do
    keep_place({ client_id = id }, true)
  end
end

-- Before there were weights, places had to do.
local function weigh_places()
  local places = list_key("clients", "places")
  if redis.call("EXISTS", list_key("clients", "weights")) == 0 then
    for _, member in ipairs(redis.call("ZRANGE", places, 0, -1)) do
      weigh(member, 1)
    end
  end
end

local known, token, lease_ms = number_argument(), argument(), argument()
local stored = tonumber(redis.call("GET", prefix .. "schema") or known)
if stored > known then
  return "schema " .. stored
end
redis.call("SET", prefix .. "schema", known)
forget_addresses()
weigh_places()
if redis.call("EXISTS", prefix .. "filling") == 0 then
  return "ready"
end
if redis.call("EXISTS", prefix .. "maintenance") == 1 then
  return "filling"
end
redis.call("SET", prefix .. "filling", token)
redis.call("SET", prefix .. "maintenance", token, "PX", lease_ms)
return "torn"
