local invitation = read_living("invitations", argument())
local first, credential, grants = row_argument(), row_argument(), argument() == "1"
if not invitation then
  return nil
end
erase("invitations", invitation.digest)
local is_first = redis.call("ZCARD", prefix .. "users") == 0
if not is_first then
  invitation.scopes = nil
end
if not invitation.name then
  if not is_first then
    return nil
  end
  invitation.name, invitation.folded_name = first.name, first.folded_name
end
local user = made_user(invitation)
if user.disabled_at then
  return nil
end
if credential.kind then
  credential.subject = user.subject
  local before = read("credentials", identify("credentials", credential))
  credential.counter = before and before.counter + 1 or 1
  store("credentials", credential)
end
if user.subject ~= invitation.subject then -- it is not new
  end_access(user, nil, grants)
end
return flat(user)
