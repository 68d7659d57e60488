-- What several scripts do to users, grants, and what hangs off them.

-- The user of that name; where there is none, made of the columns of `row`.
local function made_user(row)
  local user = user_named(row.folded_name)
  if not user then
    user = {
      subject = row.subject,
      folded_name = row.folded_name,
      name = row.name,
      scopes = row.scopes,
      created_at = text(now),
    }
    store("users", user)
  end
  return user
end

-- Revoke a grant; false if it was revoked before. If it ends before its access tokens, it is told.
local function revoke(grant)
  if grant.revoked_at then
    return false
  end
  redis.call("HSET", record_key("grants", grant.grant_id), "revoked_at", text(now))
  if tonumber(grant.access_until) > now then
    store("revocations", {
      grant_id = grant.grant_id,
      revoked_at = text(now),
      ["until"] = grant.access_until,
    })
  end
  return true
end

local function revoke_by(column, value)
  for _, grant_id in ipairs(ids_by("grants", column, value)) do
    local grant = read("grants", grant_id)
    if grant then
      revoke(grant)
    end
  end
end

-- Move the epoch of a user, and end what was begun before: links, sessions but one, and if wanted grants.
local function end_access(user, keep, grants)
  user.epoch = text(epoch_of(user) + 1)
  redis.call("HSET", record_key("users", user.subject), "epoch", user.epoch)
  erase_by("invitations", "folded_name", user.folded_name)
  for _, digest in ipairs(ids_by("sessions", "subject", user.subject)) do
    if digest ~= keep then
      erase("sessions", digest)
    end
  end
  if keep then
    redis.call("HSET", record_key("sessions", keep), "epoch", user.epoch)
  end
  if grants then
    revoke_by("subject", user.subject)
  end
  return user.epoch
end

local function erase_client(client_id)
  revoke_by("client_id", client_id)
  erase_grants_by("client_id", client_id)
  erase_by("authorization_requests", "client_id", client_id)
  return erase("clients", client_id)
end

local function take_request(digest)
  local request = read_living("authorization_requests", digest)
  if request then
    erase("authorization_requests", digest)
  end
  return request
end

-- The generic cell rate algorithm: a bucket is the time at which it is full again. Return how many seconds to
-- wait (0: go on), and the time after one more attempt.
local function look_into_bucket(id, burst, interval_seconds)
  local start = math.max(now, redis.call("HGET", record_key("buckets", id), "full_at") or now)
  return math.max(0, start - now - (burst - 1) * interval_seconds), text(start + interval_seconds)
end

-- Nodes of 0.2.0 keep nowhere when they spent a token: put the oldest of these where the others are. Among so many
-- at least one is neither kept nor unspent.
local function adopt_spent(grant_id, kept)
  local all, set = value_key("refresh_tokens", "grant_id", grant_id), spent_set(grant_id)
  if redis.call("ZCARD", all) > redis.call("ZCARD", set) + 1 then
    for _, id in ipairs(redis.call("ZRANGE", all, 0, kept + 1)) do
      local token = read("refresh_tokens", id)
      if not token then
        redis.call("ZREM", all, id)
      elseif token.spent_at then
        redis.call("ZADD", set, token.spent_at, id)
      end
    end
  end
end

-- Of the spent refresh tokens of a grant, the last `kept` stay, and those spent since then; two go at a time.
local function forget_spent(grant_id, kept, before)
  adopt_spent(grant_id, kept)
  local set = spent_set(grant_id)
  local number = math.min(redis.call("ZCARD", set) - kept, 2)
  if number > 0 then
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", set, "-inf", "(" .. text(before), "LIMIT", 0, number)) do
      erase("refresh_tokens", id)
      redis.call("ZREM", set, id)
    end
  end
end

-- What an issued access token says.
local function issued(verdict, grant, scopes, issued_at, expires_at)
  return {
    verdict = verdict,
    grant_id = grant.grant_id,
    client_id = grant.client_id,
    subject = grant.subject,
    user_name = grant.user_name,
    scopes = scopes,
    resource = grant.resource,
    issued_at = issued_at,
    expires_at = expires_at,
  }
end

-- A code or token that came too often: its grant ends.
local function stolen(verdict, grant)
  revoke(grant)
  return flat({ verdict = verdict, grant_id = grant.grant_id, subject = grant.subject })
end

-- Store tokens of a grant; lifetimes are the columns of `lifetimes`. Return when the access token expires.
local function store_tokens(grant, scopes, tokens, lifetimes)
  local ends = tonumber(grant.expires_at)
  local access_ends = math.min(now + lifetimes.access_token_seconds, ends)
  if tokens.refresh then
    store("refresh_tokens", {
      digest = tokens.refresh,
      grant_id = grant.grant_id,
      expires_at = text(math.min(now + lifetimes.refresh_token_seconds, ends)),
    })
  end
  if tokens.access then
    store("access_tokens", {
      digest = tokens.access,
      grant_id = grant.grant_id,
      scopes = scopes,
      expires_at = text(access_ends),
    })
  end
  redis.call(
    "HSET",
    record_key("grants", grant.grant_id),
    "used_at",
    text(now),
    "access_until",
    text(math.max(tonumber(grant.access_until), access_ends))
  )
  redis.call("ZADD", list_key("clients", "used"), "XX", "GT", now, grant.client_id)
  return text(access_ends)
end
