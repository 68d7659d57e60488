-- Those of a subject; all if it is empty.
local subject = argument()
local ids = subject == "" and redis.call("ZRANGEBYSCORE", prefix .. "grants", "(" .. text(now), "+inf")
  or ids_by("grants", "subject", subject)
local rows = {}
for _, id in ipairs(ids) do
  local grant = living_grant(id)
  if grant then
    rows[#rows + 1] = flat(grant)
  end
end
return rows
