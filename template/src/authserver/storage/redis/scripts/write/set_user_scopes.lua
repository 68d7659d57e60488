local user, scopes = user_named(argument()), row_argument().scopes
if not user then
  return false
end
if scopes then
  redis.call("HSET", record_key("users", user.subject), "scopes", scopes)
else
  redis.call("HDEL", record_key("users", user.subject), "scopes")
end
return true
