local rows = {}
for _, digest in ipairs(ids_by("sessions", "subject", argument())) do
  local session = living_session(digest)
  if session then
    rows[#rows + 1] = flat(session)
  end
end
return rows
