local session, lifetime_seconds, limit = row_argument(), number_argument(), number_argument()
local user = living_user(session.subject)
if not user or epoch_of(user) ~= epoch_of(session) then
  return false
end
session.created_at = text(now)
session.expires_at = text(now + lifetime_seconds)
store("sessions", session)
local others = {}
for _, digest in ipairs(ids_by("sessions", "subject", session.subject)) do
  others[#others + 1] = digest ~= session.digest and read("sessions", digest) or nil
end
table.sort(others, function(one, other)
  return tonumber(one.created_at) > tonumber(other.created_at)
end)
for at = limit, #others do
  erase("sessions", others[at].digest)
end
return true
