local digest, scopes, salt, replay_seconds = argument(), argument(), argument(), number_argument()
local tokens, lifetimes = row_argument(), row_argument()
local bucket, burst, interval_seconds, kept = argument(), number_argument(), number_argument(), number_argument()
local token = read_living("refresh_tokens", digest)
local grant = token and living_grant(token.grant_id)
if not grant then
  return nil
end
if not token.spent_at then
  if bucket ~= "" then
    local wait, full_at = look_into_bucket(bucket, burst, interval_seconds)
    if wait > 0 then
      return flat({ verdict = "limited", wait = text(wait) })
    end
    store("buckets", { key = bucket, full_at = full_at })
  end
  token.salt = salt
  token.spent_at = text(now)
  token.access_scopes = scopes
  token.access_expires_at = store_tokens(grant, scopes, tokens, lifetimes)
  store("refresh_tokens", token)
  forget_spent(grant.grant_id, kept, now - replay_seconds)
elseif token.salt ~= salt and (not token.salt or now - token.spent_at > replay_seconds) then
  return stolen("reused", grant)
end
local answer = issued("rotated", grant, token.access_scopes, token.spent_at, token.access_expires_at)
answer.salt = token.salt
return flat(answer)
