-- Delete up to so many records of each sort that hang off grants that are over, and those grants; say how many.
-- Over are expired ones, and of that client or user the revoked ones.
local limit, client_id, subject, deleted = number_argument(), argument(), argument(), 0

local function sweep(ids, revoked)
  for _, id in ipairs(ids) do
    if deleted < limit and (not revoked or redis.call("HEXISTS", record_key("grants", id), "revoked_at") == 1) then
      deleted = deleted + erase_grant(id, limit - deleted)
    end
  end
end

sweep(redis.call("ZRANGEBYSCORE", prefix .. "grants", "-inf", now, "LIMIT", 0, limit), false)
sweep(ids_by("grants", "client_id", client_id), true)
sweep(ids_by("grants", "subject", subject), true)
return deleted
