local user = user_named(argument())
if not user then
  return false
end
redis.call("HDEL", record_key("users", user.subject), "disabled_at")
return true
