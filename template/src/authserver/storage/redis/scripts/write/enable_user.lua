local user, who = user_named(argument()), row_argument()
if not user or (who.over_others ~= "1" and user.disabled_by ~= who.by) then
  return false
end
redis.call("HDEL", record_key("users", user.subject), "disabled_at", "disabled_by")
return true
