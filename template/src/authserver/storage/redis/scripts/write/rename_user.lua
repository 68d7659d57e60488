local user, wanted = user_named(argument()), row_argument()
local other = user_named(wanted.folded_name)
if not user or (other and other.subject ~= user.subject) then
  return false
end
redis.call("ZREM", value_key("users", "folded_name", user.folded_name), user.subject)
user.name, user.folded_name = wanted.name, wanted.folded_name
store("users", user)
return true
