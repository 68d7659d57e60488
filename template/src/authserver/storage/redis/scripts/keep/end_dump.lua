if redis.call("GET", prefix .. "maintenance") == argument() then
  redis.call("DEL", prefix .. "maintenance")
end
