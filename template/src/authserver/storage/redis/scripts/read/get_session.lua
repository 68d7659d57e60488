local session = read_living("sessions", argument())
local user = session and living_user(session.subject)
if not user then
  return nil
end
session.user_name, session.entitlement = user.name, user.scopes
return flat(session)
