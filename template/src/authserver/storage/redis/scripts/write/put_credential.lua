local credential, counter = row_argument(), number_argument()
local before = read("credentials", identify("credentials", credential))
if not exists("users", credential.subject) or tonumber(before and before.counter or 0) ~= counter then
  return false
end
credential.counter = counter + 1
store("credentials", credential)
return true
