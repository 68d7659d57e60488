local folded_name = argument()
erase_by("invitations", "folded_name", folded_name)
local user = user_named(folded_name)
if not user then
  return false
end
revoke_by("subject", user.subject)
erase_grants_by("subject", user.subject)
for _, name in ipairs({ "sessions", "credentials" }) do
  erase_by(name, "subject", user.subject)
end
return erase("users", user.subject)
