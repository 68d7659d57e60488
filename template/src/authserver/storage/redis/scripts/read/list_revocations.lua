-- The time, and those since a point in it; those of all time if there is no number.
local first = number_argument()
local rows = {}
local since = first and text(first) or "-inf"
for _, id in ipairs(redis.call("ZRANGEBYSCORE", list_key("revocations", "latest"), since, "+inf")) do
  local ends = redis.call("ZSCORE", prefix .. "revocations", id)
  if ends and tonumber(ends) > now then
    rows[#rows + 1] = flat({ grant_id = id, ["until"] = ends })
  end
end
return { text(now), rows }
