-- Without a name it is for the first account.
local invitation = read_living("invitations", argument())
if not invitation or (not invitation.name and redis.call("ZCARD", prefix .. "users") > 0) then
  return nil
end
local user = invitation.name and user_named(invitation.folded_name)
invitation.subject = user and user.subject or invitation.subject
return flat(invitation)
