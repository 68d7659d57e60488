local user = user_named(argument())
if not user then
  return false
end
redis.call("HSETNX", record_key("users", user.subject), "disabled_at", text(now))
erase_by("sessions", "subject", user.subject)
revoke_by("subject", user.subject)
return true
