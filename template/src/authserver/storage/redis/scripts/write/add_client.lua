local client, limit, age_seconds = row_argument(), number_argument(), number_argument()
if exists("clients", client.client_id) then
  return true
end
if redis.call("ZCARD", list_key("clients", "unused")) >= limit then
  local heaviest = redis.call("ZREVRANGE", list_key("clients", "addresses"), 0, 0)[1]
  local oldest = heaviest
    and redis.call(
      "ZRANGEBYSCORE",
      value_key("clients", "address", heaviest),
      "-inf",
      "(" .. text(now - age_seconds),
      "LIMIT",
      0,
      1
    )[1]
  if not oldest then
    return false
  end
  erase_client(oldest)
end
for _, column in ipairs({ "created_at", "approved_at", "completed_at" }) do
  client[column] = client[column] and text(now)
end
store("clients", client)
return true
