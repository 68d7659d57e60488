local full_at, wait = {}, 0
for _ = 1, number_argument() do
  local id = argument()
  local seconds, time = look_into_bucket(id, number_argument(), number_argument())
  wait = math.max(wait, seconds)
  full_at[id] = time
end
if wait == 0 then
  for id, time in pairs(full_at) do
    store("buckets", { key = id, full_at = time })
  end
end
return text(wait)
