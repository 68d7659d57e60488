local digest, attempt, tokens, lifetimes = argument(), argument(), row_argument(), row_argument()
local code = read_living("codes", digest)
local grant = code and living_grant(code.grant_id)
if not grant then
  return nil
end
if code.attempt == attempt then
  return flat(issued("redeemed", grant, grant.scopes, code.spent_at, code.access_expires_at))
end
if code.attempt then
  return stolen("replayed", grant)
end
local expires_at = store_tokens(grant, grant.scopes, tokens, lifetimes)
redis.call(
  "HSET",
  record_key("codes", digest),
  "attempt",
  attempt,
  "spent_at",
  text(now),
  "access_expires_at",
  expires_at
)
local client = read("clients", grant.client_id)
if not client.completed_at then
  client.completed_at = text(now)
  store("clients", client)
end
return flat(issued("redeemed", grant, grant.scopes, text(now), expires_at))
