local rows = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", prefix .. "grants", "(" .. text(now), "+inf")) do
  local grant = living_grant(id)
  if grant then
    rows[#rows + 1] = flat(grant)
  end
end
return rows
