local token = read_living("access_tokens", argument())
local grant = token and living_grant(token.grant_id)
if not grant then
  return nil
end
grant.scopes = token.scopes
grant.expires_at = token.expires_at
return flat(grant)
