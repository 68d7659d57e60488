-- Without a name it is for the first account.
local invitation = read_living("invitations", argument())
if not invitation or (not invitation.name and redis.call("ZCARD", prefix .. "users") > 0) then
  return nil
end
return flat(invitation)
