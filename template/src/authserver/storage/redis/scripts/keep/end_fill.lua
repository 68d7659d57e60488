-- Store the facts that are not there yet, and let everybody write again; true also if that was done before.
-- false: somebody else undoes this restore.
local token = argument()
if redis.call("GET", prefix .. "filled") == token then
  return true
end
if redis.call("GET", prefix .. "filling") ~= token then
  return false
end
for _ = 1, number_argument() do
  local fact = row_argument()
  if not exists("facts", fact.name) then
    store("facts", fact)
  end
end
redis.call("SET", prefix .. "filled", token)
redis.call("DEL", prefix .. "filling", prefix .. "maintenance")
return true
