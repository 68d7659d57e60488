local invitation, lifetime_seconds = row_argument(), number_argument()
if not invitation.name and redis.call("ZCARD", prefix .. "users") > 0 then
  return false
end
erase_by("invitations", "folded_name", invitation.folded_name)
invitation.expires_at = text(now + lifetime_seconds)
store("invitations", invitation)
return true
