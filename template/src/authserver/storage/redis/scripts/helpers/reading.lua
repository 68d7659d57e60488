-- How records are kept. Under the prefix lie, for each table:
--
--     TABLE/ID              a record: a hash of its columns, without those that are null
--     TABLE                 all its records, a sorted set of ids, by the time that orders or ends them
--     TABLE.COLUMN/VALUE    the records with that value; TABLE.COLUMN those with none
--     TABLE:LIST            the records that wait for something, by a time of theirs; see also `keep_place`
--
-- and beside them `schema`, `ping`, and what backup and restore keep others away with: `maintenance`, `filling`
-- and `filled`.
--
-- Whether a record is alive is judged by its own time. Redis drops it an hour later, in case nobody purges:
-- sets of values go with the last record in them, the other sets are cleaned by purge.

local function record_key(name, id)
  return prefix .. name .. "/" .. id
end

local function value_key(name, column, value)
  return prefix .. name .. "." .. column .. (value and "/" .. value or "")
end

local function list_key(name, list)
  return prefix .. name .. ":" .. list
end

local function exists(name, id)
  return redis.call("EXISTS", record_key(name, id)) == 1
end

local function read(name, id)
  local columns = redis.call("HGETALL", record_key(name, id))
  if #columns == 0 then
    return nil
  end
  local row = {}
  for at = 1, #columns, 2 do
    row[columns[at]] = columns[at + 1]
  end
  return row
end

-- Read a record that ends at its expires_at, unless it has.
local function read_living(name, id)
  local row = read(name, id)
  return row and tonumber(row.expires_at) > now and row or nil
end

-- The ids that have a value.
local function ids_by(name, column, value)
  return redis.call("ZRANGE", value_key(name, column, value), 0, -1)
end

local function user_named(folded_name)
  local subject = ids_by("users", "folded_name", folded_name)[1]
  return subject and read("users", subject)
end

local function living_user(subject)
  local user = read("users", subject)
  return user and not user.disabled_at and user or nil
end

-- The epoch of a user or a session: nodes of 0.2.0 know none, and so the first one has no column.
local function epoch_of(row)
  return tonumber(row.epoch or 0)
end

-- A session with its user, if both are alive and of the same epoch.
local function living_session(digest)
  local session = read_living("sessions", digest)
  local user = session and living_user(session.subject)
  if not user or epoch_of(user) ~= epoch_of(session) then
    return nil
  end
  session.user_name, session.entitlement = user.name, user.scopes
  return session
end

-- Every check of a code or token goes through here: validity joins grant, user and client.
local function living_grant(grant_id)
  local grant = read_living("grants", grant_id)
  if not grant or grant.revoked_at or not exists("clients", grant.client_id) then
    return nil
  end
  local user = living_user(grant.subject)
  if not user then
    return nil
  end
  grant.user_name, grant.entitlement = user.name, user.scopes
  return grant
end

-- A living grant that has a refresh token which is not spent. That one ends last; near the end of a grant all of
-- its tokens end together. Nodes of 0.2.0 left any number of spent ones, and nobody may wait for a look at all.
local LOOKED_AT = 1000

local function going_on(grant_id)
  local grant, set = living_grant(grant_id), value_key("refresh_tokens", "grant_id", grant_id)
  for _, id in ipairs(grant and redis.call("ZRANGE", set, 0, LOOKED_AT - 1, "REV") or {}) do
    local spent = redis.call("HEXISTS", record_key("refresh_tokens", id), "spent_at") == 1
    if not spent and read_living("refresh_tokens", id) then
      return grant
    end
  end
  return nil
end
