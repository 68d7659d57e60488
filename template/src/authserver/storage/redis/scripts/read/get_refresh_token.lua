-- Spent or not, revoked or not.
local token = read_living("refresh_tokens", argument())
local grant = token and read("grants", token.grant_id)
local user = grant and read("users", grant.subject)
if not user then
  return nil
end
grant.entitlement = user.scopes
grant.expires_at = token.expires_at
return flat(grant)
