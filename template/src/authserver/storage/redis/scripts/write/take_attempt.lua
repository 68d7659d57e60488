-- The generic cell rate algorithm: a bucket is the time at which it is full again.
local full_at, wait = {}, 0
for _ = 1, number_argument() do
  local id, burst, interval_seconds = argument(), number_argument(), number_argument()
  local start = math.max(now, redis.call("HGET", record_key("buckets", id), "full_at") or now)
  wait = math.max(wait, start - now - (burst - 1) * interval_seconds)
  full_at[id] = text(start + interval_seconds)
end
if wait == 0 then
  for id, time in pairs(full_at) do
    store("buckets", { key = id, full_at = time })
  end
end
return text(wait)
