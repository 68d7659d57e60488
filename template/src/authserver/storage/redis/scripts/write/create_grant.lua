local digest, by, grant, code = argument(), argument(), row_argument(), row_argument()
local grant_seconds, code_seconds, remember_seconds = number_argument(), number_argument(), number_argument()
local session = living_session(by)
local request = session and take_request(digest)
if not request then
  return nil
end
grant.subject = session.subject
grant.client_id = request.client_id
grant.resource = request.resource
grant.redirect_uri = request.redirect_uri
grant.created_at = text(now)
grant.used_at = text(now)
grant.access_until = text(now)
grant.remembered_until = text(now + remember_seconds)
grant.expires_at = text(now + grant_seconds)
store("grants", grant)
code.grant_id = grant.grant_id
code.redirect_uri_explicit = request.redirect_uri_explicit
code.code_challenge = request.code_challenge
code.expires_at = text(now + code_seconds)
store("codes", code)
return flat(request)
