local used = {}
for _ = 1, number_argument() do
  local id = argument()
  if tonumber(redis.call("HGET", record_key("buckets", id), "full_at") or 0) > now then
    used[#used + 1] = id
  end
end
return used
