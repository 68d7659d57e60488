local invitation = read_living("invitations", argument())
local first, credential = row_argument(), row_argument()
if not invitation then
  return nil
end
erase("invitations", invitation.digest)
if not invitation.name and redis.call("ZCARD", prefix .. "users") > 0 then
  return nil
end
local user = user_named(invitation.folded_name or first.folded_name)
if user and user.disabled_at then
  return nil
end
if not user then
  user = {
    subject = first.subject,
    folded_name = invitation.folded_name or first.folded_name,
    name = invitation.name or first.name,
    scopes = invitation.scopes,
    created_at = text(now),
  }
  store("users", user)
end
credential.subject = user.subject
local before = read("credentials", identify("credentials", credential))
credential.counter = before and before.counter + 1 or 1
store("credentials", credential)
erase_by("sessions", "subject", user.subject)
return flat(user)
