local request, lifetime_seconds, limit = row_argument(), number_argument(), number_argument()
if exists("authorization_requests", request.digest) then
  return true
end
local waiting = count_living(value_key("authorization_requests", "address", request.address))
if waiting >= limit or not exists("clients", request.client_id) then
  return false
end
request.expires_at = text(now + lifetime_seconds)
store("authorization_requests", request)
return true
