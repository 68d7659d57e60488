-- Spent or not, revoked or not.
local code = read_living("codes", argument())
local grant = code and read("grants", code.grant_id)
if not grant then
  return nil
end
grant.redirect_uri_explicit = code.redirect_uri_explicit
grant.code_challenge = code.code_challenge
grant.expires_at = code.expires_at
return flat(grant)
