local token = row_argument()
if exists("grants", token.grant_id) and not exists("access_tokens", token.digest) then
  store("access_tokens", token)
end
