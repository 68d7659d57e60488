local request, lifetime_seconds, limit = row_argument(), number_argument(), number_argument()
if exists("authorization_requests", request.digest) then
  return true
end
if not exists("clients", request.client_id) then
  return false
end
local waiting = redis.call(
  "ZRANGEBYSCORE",
  value_key("authorization_requests", "address", request.address),
  "(" .. text(now),
  "+inf"
)
if #waiting >= limit then
  -- The youngest of the client that has the most there; the new one counts. They come oldest first.
  local weights, clients, heaviest = { [request.client_id] = 1 }, {}, nil
  for at, digest in ipairs(waiting) do
    clients[at] = redis.call("HGET", record_key("authorization_requests", digest), "client_id")
    weights[clients[at]] = (weights[clients[at]] or 0) + 1
  end
  for at, digest in ipairs(waiting) do
    if not heaviest or weights[clients[at]] >= weights[clients[heaviest]] then
      heaviest = at
    end
  end
  erase("authorization_requests", waiting[heaviest])
end
request.expires_at = text(now + lifetime_seconds)
store("authorization_requests", request)
return true
