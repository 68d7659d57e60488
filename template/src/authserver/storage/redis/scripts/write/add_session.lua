local session, lifetime_seconds = row_argument(), number_argument()
if living_user(session.subject) then
  session.created_at = text(now)
  session.expires_at = text(now + lifetime_seconds)
  store("sessions", session)
end
