-- What every script that writes begins with: nobody writes while a backup or a restore runs.

if redis.call("EXISTS", prefix .. "maintenance", prefix .. "filling") > 0 then
  return redis.error_reply("MAINTENANCE a backup or a restore is running, nothing can be written")
end
