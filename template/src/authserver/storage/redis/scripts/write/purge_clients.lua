-- Clients of a list that are older there than that, except those with a grant.
local list, limit, age_seconds = argument(), number_argument(), number_argument()
local before = "(" .. text(now - age_seconds)
local deleted, kept = 0, 0
repeat
  local ids =
    redis.call("ZRANGEBYSCORE", list_key("clients", list), "-inf", before, "LIMIT", kept, limit - deleted)
  for _, id in ipairs(ids) do
    if redis.call("EXISTS", value_key("grants", "client_id", id)) == 1 then
      kept = kept + 1
    else
      erase_client(id)
      deleted = deleted + 1
    end
  end
until #ids == 0 or deleted == limit or kept > 10 * limit
return deleted
