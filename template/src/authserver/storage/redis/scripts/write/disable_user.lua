local user, who = user_named(argument()), row_argument()
if not user then
  return false
end
local key = record_key("users", user.subject)
redis.call("HSETNX", key, "disabled_at", text(now))
redis.call(who.over_others == "1" and "HSET" or "HSETNX", key, "disabled_by", who.by)
end_access(user, nil, true)
return true
