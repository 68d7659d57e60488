-- Revoke the grants of clients that were not used for so long; return these.
local limit, idle_seconds = number_argument(), number_argument()
local before = "(" .. text(now - idle_seconds)
local ids = redis.call("ZRANGEBYSCORE", list_key("clients", "used"), "-inf", before, "LIMIT", 0, limit)
for _, id in ipairs(ids) do
  revoke_by("client_id", id)
end
return ids
