-- Operations of several steps, as functions: one call, one transaction, one round trip.
--
-- While nodes are upgraded one after the other, old and new ones call these at the same time. So a function
-- never changes: a later file adds one of a new name, and the old one stays.
--
-- All work under READ COMMITTED: a function first locks what it judges, then reads the clock, once, then
-- judges by statements that see all that was committed before. Locks are taken in one order, so that no two
-- operations wait for each other: advisory lock, invitation, user, client, grant (by id), whatever hangs off
-- it. Advisory locks: 1 accounts, 2 registrations, 3 requests of an address, 4 buckets.

-- Revoke grants that the caller has locked; say how many were alive.
CREATE FUNCTION authserver.end_grants(_grants text[], _now double precision) RETURNS bigint
LANGUAGE sql SET search_path = '' AS $$
    WITH ended AS (
        UPDATE authserver.grants SET revoked_at = _now
        WHERE grant_id = ANY (_grants) AND revoked_at IS NULL
        RETURNING grant_id, access_until
    ), told AS (
        INSERT INTO authserver.revocations (grant_id, revoked_at, until)
        SELECT grant_id, _now, access_until FROM ended WHERE access_until > _now
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FROM ended
$$;

CREATE FUNCTION authserver.add_client(
    _client_id text, _metadata text, _secret_digest bytea, _address text, _approved boolean,
    _completed boolean, _unused_limit integer, _unused_age double precision
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _oldest text;
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(2, 0);
    _now := extract(epoch FROM clock_timestamp());
    IF EXISTS (SELECT FROM authserver.clients WHERE client_id = _client_id) THEN
        RETURN true;
    END IF;
    IF (SELECT count(*) FROM authserver.clients WHERE completed_at IS NULL) >= _unused_limit THEN
        SELECT client_id INTO _oldest FROM authserver.clients
        WHERE completed_at IS NULL AND created_at < _now - _unused_age AND address = (
            SELECT address FROM authserver.clients WHERE completed_at IS NULL
            GROUP BY address ORDER BY count(*) DESC LIMIT 1)
        ORDER BY created_at LIMIT 1 FOR UPDATE;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        PERFORM FROM authserver.grants WHERE client_id = _oldest ORDER BY grant_id FOR UPDATE;
        DELETE FROM authserver.clients WHERE client_id = _oldest;
    END IF;
    INSERT INTO authserver.clients
        (client_id, metadata, secret_digest, address, created_at, approved_at, completed_at)
    VALUES (
        _client_id, _metadata, _secret_digest, _address, _now,
        CASE WHEN _approved THEN _now END, CASE WHEN _completed THEN _now END);
    RETURN true;
END $$;

CREATE FUNCTION authserver.remove_client(_client_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _grants text[];
BEGIN
    PERFORM FROM authserver.clients WHERE client_id = _client_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _grants := ARRAY(
        SELECT grant_id FROM authserver.grants WHERE client_id = _client_id ORDER BY grant_id FOR UPDATE);
    PERFORM authserver.end_grants(_grants, extract(epoch FROM clock_timestamp())::double precision);
    DELETE FROM authserver.clients WHERE client_id = _client_id;
    RETURN true;
END $$;

CREATE FUNCTION authserver.rename_user(
    _folded_name text, _new_name text, _new_folded_name text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE authserver.users SET name = _new_name, folded_name = _new_folded_name
    WHERE folded_name = _folded_name;
    RETURN FOUND;
EXCEPTION WHEN unique_violation THEN
    RETURN false;
END $$;

CREATE FUNCTION authserver.disable_user(_folded_name text, _by text, _over_others boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _subject text;
    _grants text[];
    _now double precision;
BEGIN
    SELECT subject INTO _subject FROM authserver.users WHERE folded_name = _folded_name FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _grants := ARRAY(
        SELECT grant_id FROM authserver.grants WHERE subject = _subject ORDER BY grant_id FOR UPDATE);
    _now := extract(epoch FROM clock_timestamp());
    PERFORM authserver.end_grants(_grants, _now);
    DELETE FROM authserver.sessions WHERE subject = _subject;
    UPDATE authserver.users SET
        disabled_at = coalesce(disabled_at, _now),
        disabled_by = CASE WHEN _over_others THEN _by ELSE coalesce(disabled_by, _by) END
    WHERE subject = _subject;
    RETURN true;
END $$;

CREATE FUNCTION authserver.delete_user(_folded_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _subject text;
    _grants text[];
BEGIN
    DELETE FROM authserver.invitations WHERE folded_name = _folded_name;
    SELECT subject INTO _subject FROM authserver.users WHERE folded_name = _folded_name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _grants := ARRAY(
        SELECT grant_id FROM authserver.grants WHERE subject = _subject ORDER BY grant_id FOR UPDATE);
    PERFORM authserver.end_grants(_grants, extract(epoch FROM clock_timestamp())::double precision);
    DELETE FROM authserver.users WHERE subject = _subject;
    RETURN true;
END $$;

-- The user's row keeps two deletions apart: each sees what the other left.
CREATE FUNCTION authserver.delete_credential(_subject text, _kind text, _beside text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM FROM authserver.users WHERE subject = _subject FOR NO KEY UPDATE;
    DELETE FROM authserver.credentials
    WHERE subject = _subject AND kind = _kind AND (_beside IS NULL OR EXISTS (
        SELECT FROM authserver.credentials
        WHERE subject = _subject AND kind <> _kind AND starts_with(kind, _beside)));
    RETURN FOUND;
END $$;

CREATE FUNCTION authserver.add_invitation(
    _digest bytea, _subject text, _folded_name text, _name text, _scopes text, _lifetime double precision
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
    IF _name IS NULL AND EXISTS (SELECT FROM authserver.users) THEN
        RETURN false;
    END IF;
    DELETE FROM authserver.invitations WHERE folded_name IS NOT DISTINCT FROM _folded_name;
    INSERT INTO authserver.invitations (digest, subject, folded_name, name, scopes, expires_at)
    VALUES (
        _digest, _subject, _folded_name, _name, _scopes,
        extract(epoch FROM clock_timestamp()) + _lifetime);
    RETURN true;
END $$;

-- The name is for the first account. No row: the link is gone, or its user is disabled.
CREATE FUNCTION authserver.claim_invitation(
    _digest bytea, _folded_name text, _name text, _kind text, _value bytea
) RETURNS SETOF authserver.users
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _invitation authserver.invitations;
    _user authserver.users;
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
    _now := extract(epoch FROM clock_timestamp());
    DELETE FROM authserver.invitations WHERE digest = _digest AND expires_at > _now
    RETURNING * INTO _invitation;
    IF NOT FOUND OR (_invitation.name IS NULL AND EXISTS (SELECT FROM authserver.users)) THEN
        RETURN;
    END IF;
    _name := coalesce(_invitation.name, _name);
    _folded_name := coalesce(_invitation.folded_name, _folded_name);
    INSERT INTO authserver.users (subject, folded_name, name, scopes, created_at)
    VALUES (_invitation.subject, _folded_name, _name, _invitation.scopes, _now)
    ON CONFLICT (folded_name) DO NOTHING;
    SELECT * INTO _user FROM authserver.users
    WHERE folded_name = _folded_name AND disabled_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF _kind IS NOT NULL THEN
        INSERT INTO authserver.credentials AS stored (subject, kind, value, counter)
        VALUES (_user.subject, _kind, _value, 1)
        ON CONFLICT (subject, kind) DO UPDATE SET value = excluded.value, counter = stored.counter + 1;
    END IF;
    DELETE FROM authserver.sessions WHERE subject = _user.subject;
    RETURN NEXT _user;
END $$;

-- Of all who count in these buckets one goes on, the others wait.
CREATE FUNCTION authserver.lock_buckets(_keys bytea[]) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT pg_advisory_xact_lock(4, number) FROM (
        SELECT DISTINCT hashtext(encode(key, 'hex')) AS number FROM unnest(_keys) AS key ORDER BY number
    ) AS locks
$$;

-- Count an attempt in all buckets, or in none (generic cell rate algorithm); return the seconds to wait.
CREATE FUNCTION authserver.take_attempt(_keys bytea[], _bursts integer[], _intervals double precision[])
RETURNS double precision
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision;
    _wait double precision;
BEGIN
    PERFORM authserver.lock_buckets(_keys);
    _now := extract(epoch FROM clock_timestamp());
    SELECT max(greatest(buckets.full_at, _now) - _now - (wanted.burst - 1) * wanted.seconds) INTO _wait
    FROM unnest(_keys, _bursts, _intervals) AS wanted (key, burst, seconds)
    LEFT JOIN authserver.buckets ON buckets.key = wanted.key;
    IF _wait > 0 THEN
        RETURN _wait;
    END IF;
    INSERT INTO authserver.buckets AS stored (key, full_at)
    SELECT key, _now + seconds FROM unnest(_keys, _intervals) AS wanted (key, seconds)
    ON CONFLICT (key) DO UPDATE
    SET full_at = greatest(stored.full_at, _now) + excluded.full_at - _now;
    RETURN 0;
END $$;

CREATE FUNCTION authserver.return_attempt(_keys bytea[], _intervals double precision[]) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM authserver.lock_buckets(_keys);
    UPDATE authserver.buckets SET full_at = full_at - wanted.seconds
    FROM unnest(_keys, _intervals) AS wanted (key, seconds) WHERE buckets.key = wanted.key;
END $$;

-- Delete clients that never redeemed a code, and idle ones where _idle_seconds is given; return how many.
CREATE FUNCTION authserver.purge_clients(
    _limit integer, _unused_seconds double precision, _idle_seconds double precision
) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision := extract(epoch FROM clock_timestamp());
    _clients text[];
    _deleted bigint;
BEGIN
    -- A client that somebody uses right now is locked, and skipped.
    _clients := ARRAY(
        SELECT client_id FROM authserver.clients
        WHERE (completed_at < _now - _idle_seconds OR (
            completed_at IS NULL AND approved_at IS NOT NULL AND created_at < _now - _unused_seconds))
        AND NOT EXISTS (
            SELECT FROM authserver.grants WHERE grants.client_id = clients.client_id
            AND (clients.completed_at IS NULL OR grants.used_at >= _now - _idle_seconds))
        LIMIT _limit FOR UPDATE SKIP LOCKED);
    -- Its grants may have been used since the look: they are locked, and looked at again.
    PERFORM FROM authserver.grants WHERE client_id = ANY (_clients) ORDER BY grant_id FOR UPDATE;
    _clients := ARRAY(
        SELECT client_id FROM authserver.clients WHERE client_id = ANY (_clients) AND NOT EXISTS (
            SELECT FROM authserver.grants WHERE grants.client_id = clients.client_id
            AND (clients.completed_at IS NULL OR grants.used_at >= _now - _idle_seconds)));
    PERFORM authserver.end_grants(
        ARRAY(SELECT grant_id FROM authserver.grants WHERE client_id = ANY (_clients)), _now);
    DELETE FROM authserver.clients WHERE client_id = ANY (_clients);
    GET DIAGNOSTICS _deleted = ROW_COUNT;
    RETURN _deleted;
END $$;
