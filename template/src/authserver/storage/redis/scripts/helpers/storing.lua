-- How records are stored and deleted, so that everything finds them and nothing finds what is gone.

local GRACE_SECONDS = 3600

-- id: the column that names a record. time: the column by which all are ordered. ends: whether that is the
-- time at which they end. by: the columns whose values find them. lists: the time in a list, if it is there.
-- parent: what must exist, or they are nothing.
local tables = {
  facts = { id = "name" },
  clients = {
    id = "client_id",
    time = "created_at",
    lists = {
      unused = function(client)
        return not client.completed_at and client.created_at
      end,
      used = function(client)
        return client.completed_at
      end,
    },
  },
  users = { id = "subject", time = "created_at", by = { "folded_name" } },
  invitations = { id = "digest", time = "expires_at", ends = true, by = { "folded_name" } },
  credentials = { by = { "subject" } },
  sessions = { id = "digest", time = "expires_at", ends = true, by = { "subject" } },
  tickets = { id = "digest", time = "expires_at", ends = true },
  buckets = { id = "key", time = "full_at", ends = true },
  authorization_requests = { id = "digest", time = "expires_at", ends = true, by = { "client_id", "address" } },
  grants = { id = "grant_id", time = "expires_at", ends = true, by = { "client_id", "subject" } },
  revocations = {
    id = "grant_id",
    time = "until",
    ends = true,
    lists = {
      latest = function(revocation)
        return revocation.revoked_at
      end,
    },
  },
  codes = { id = "digest", time = "expires_at", ends = true, by = { "grant_id" }, parent = "grants" },
  refresh_tokens = {
    id = "digest",
    time = "expires_at",
    ends = true,
    by = { "grant_id" },
    parent = "grants",
    lists = {
      salted = function(token)
        return token.salt and token.spent_at
      end,
    },
  },
  access_tokens = { id = "digest", time = "expires_at", ends = true, by = { "grant_id" }, parent = "grants" },
}

-- When Redis may drop what ends at `time`, in milliseconds.
local function drop_at(time)
  return string.format("%.0f", math.ceil((time + GRACE_SECONDS) * 1000))
end

-- Count an unused client, or one less, for its /48 or IPv4 /24: `weights` has the heaviest at its end.
local function weigh(member, change)
  local weights, digits = list_key("clients", "weights"), member:sub(1, 12)
  if tonumber(redis.call("ZINCRBY", weights, change, digits)) < 1 then
    redis.call("ZREM", weights, digits)
  end
end

-- Keep which networks an unused client came from: `place` leads to the digits, and `places` is ordered by them.
local UNKNOWN_PLACE = string.rep("0", 16)

local function keep_place(client, unused)
  local digits, id = list_key("clients", "place"), client.client_id
  local member = (redis.call("HGET", digits, id) or UNKNOWN_PLACE) .. id
  if unused then
    weigh(member, redis.call("ZADD", list_key("clients", "places"), 0, member))
  else
    weigh(member, -redis.call("ZREM", list_key("clients", "places"), member))
    redis.call("HDEL", digits, id)
  end
end

-- Keep the spent refresh tokens of a grant, by the time when they were spent.
local function spent_set(grant_id)
  return prefix .. "refresh_tokens:spent/" .. grant_id
end

local function identify(name, row)
  if name == "credentials" then
    return row.subject .. "/" .. row.kind
  end
  return row[tables[name].id]
end

-- Store a record, new or changed, where everything finds it. Columns that it does not name stay.
local function store(name, row)
  local this, id = tables[name], identify(name, row)
  local key, time = record_key(name, id), this.time and row[this.time] or 0
  redis.call("HSET", key, unpack(flat(row)))
  redis.call("ZADD", prefix .. name, time, id)
  if this.ends then
    redis.call("PEXPIREAT", key, drop_at(time))
  end
  for _, column in ipairs(this.by or {}) do
    local set = value_key(name, column, row[column])
    redis.call("ZADD", set, time, id)
    if this.ends then
      redis.call("ZREMRANGEBYSCORE", set, "-inf", "(" .. text(now - GRACE_SECONDS))
      redis.call("PEXPIREAT", set, drop_at(redis.call("ZRANGE", set, -1, -1, "WITHSCORES")[2] or time))
    end
  end
  for list, time_in in pairs(this.lists or {}) do
    local since = time_in(row)
    if since then
      redis.call("ZADD", list_key(name, list), "GT", since, id)
    else
      redis.call("ZREM", list_key(name, list), id)
    end
  end
  if name == "clients" then
    keep_place(row, not row.completed_at)
  elseif name == "refresh_tokens" and row.spent_at then
    redis.call("ZADD", spent_set(row.grant_id), row.spent_at, id)
    redis.call("PEXPIREAT", spent_set(row.grant_id), drop_at(row.expires_at))
  end
end

-- Delete a record and all that finds it; false if its table had it no more. Redis may have dropped the record.
local function erase(name, id)
  local this, row = tables[name], read(name, id)
  local found = redis.call("ZREM", prefix .. name, id) == 1
  for list in pairs(this.lists or {}) do
    redis.call("ZREM", list_key(name, list), id)
  end
  if not row then
    return found
  end
  redis.call("DEL", record_key(name, id))
  for _, column in ipairs(this.by or {}) do
    redis.call("ZREM", value_key(name, column, row[column]), id)
  end
  if name == "clients" then
    keep_place(row, false)
  elseif name == "refresh_tokens" then
    redis.call("ZREM", spent_set(row.grant_id), id)
  end
  return found
end

local function erase_by(name, column, value)
  for _, id in ipairs(ids_by(name, column, value)) do
    erase(name, id)
  end
end

-- As a `limit` of records: with it, ranges of Redis end at the last one.
local ALL = 0

-- Delete up to `limit` records of each sort that hang off a grant, and the grant if nothing is left; say how many.
local function erase_grant(grant_id, limit)
  local deleted, left = 0, false
  for _, name in ipairs({ "access_tokens", "refresh_tokens", "codes" }) do
    local set = value_key(name, "grant_id", grant_id)
    for _, id in ipairs(redis.call("ZRANGE", set, 0, limit - 1)) do
      erase(name, id)
      redis.call("ZREM", set, id) -- nothing else finds it there once Redis has dropped the record
      deleted = deleted + 1
    end
    left = left or redis.call("EXISTS", set) == 1
  end
  if not left then
    redis.call("DEL", spent_set(grant_id))
    deleted = deleted + (erase("grants", grant_id) and 1 or 0)
  end
  return deleted
end

local function erase_grants_by(column, value)
  for _, id in ipairs(ids_by("grants", column, value)) do
    erase_grant(id, ALL)
  end
end
