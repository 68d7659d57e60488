-- Accounts, and the links that make or recover one. The rules of shared.sql hold here.

CREATE OR REPLACE FUNCTION authserver.rename_user(
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

-- Move the epoch of a user whose row the caller has locked, and end what was begun before: links, sessions but
-- one, and if wanted grants. Return the new epoch. The caller holds advisory lock 1, too.
CREATE OR REPLACE FUNCTION authserver.next_epoch(
    _subject text, _keep bytea, _grants boolean, _now double precision
) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _user authserver.users;
BEGIN
    UPDATE authserver.users SET epoch = epoch + 1 WHERE subject = _subject RETURNING * INTO _user;
    DELETE FROM authserver.invitations WHERE folded_name = _user.folded_name;
    DELETE FROM authserver.sessions WHERE subject = _subject AND digest IS DISTINCT FROM _keep;
    UPDATE authserver.sessions SET epoch = _user.epoch WHERE digest = _keep;
    IF _grants THEN
        PERFORM authserver.end_grants(ARRAY(
            SELECT grant_id FROM authserver.grants WHERE subject = _subject ORDER BY grant_id FOR UPDATE), _now);
    END IF;
    RETURN _user.epoch;
END $$;

-- Move the epoch of a user, and change a credential with it. NULL, and nothing is done: what the caller knew is
-- so no more.
CREATE OR REPLACE FUNCTION authserver.end_access(
    _subject text, _epoch bigint, _session bytea, _keep boolean, _kind text, _value bytea, _counter integer,
    _delete text[], _beside text, _grants boolean
) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _user authserver.users;
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
    SELECT * INTO _user FROM authserver.users
    WHERE subject = _subject AND (_epoch IS NULL OR epoch = _epoch) FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    _now := extract(epoch FROM clock_timestamp());
    IF _session IS NOT NULL THEN
        PERFORM FROM authserver.sessions
        WHERE digest = _session AND subject = _subject AND epoch = _user.epoch AND expires_at > _now
        AND _user.disabled_at IS NULL FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    IF _kind IS NOT NULL THEN
        IF _counter = 0 THEN
            INSERT INTO authserver.credentials (subject, kind, value, counter)
            VALUES (_subject, _kind, _value, 1) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE authserver.credentials SET value = _value, counter = counter + 1
            WHERE subject = _subject AND kind = _kind AND counter = _counter;
        END IF;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    DELETE FROM authserver.credentials AS gone USING unnest(_delete) AS wanted (kind)
    WHERE gone.subject = _subject
    AND (gone.kind = wanted.kind OR (right(wanted.kind, 1) = ':' AND starts_with(gone.kind, wanted.kind)))
    AND (_beside IS NULL OR EXISTS (
        SELECT FROM authserver.credentials AS other
        WHERE other.subject = _subject AND other.kind <> gone.kind AND starts_with(other.kind, _beside)));
    IF _beside IS NOT NULL AND NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN authserver.next_epoch(_subject, CASE WHEN _keep THEN _session END, _grants, _now);
END $$;

CREATE OR REPLACE FUNCTION authserver.disable_user(_folded_name text, _by text, _over_others boolean)
RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _subject text;
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
    SELECT subject INTO _subject FROM authserver.users WHERE folded_name = _folded_name FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _now := extract(epoch FROM clock_timestamp());
    PERFORM authserver.next_epoch(_subject, NULL, true, _now);
    UPDATE authserver.users SET
        disabled_at = coalesce(disabled_at, _now),
        disabled_by = CASE WHEN _over_others THEN _by ELSE coalesce(disabled_by, _by) END
    WHERE subject = _subject;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION authserver.delete_user(_folded_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _subject text;
    _grants text[];
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
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

CREATE OR REPLACE FUNCTION authserver.add_invitation(
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

-- The name is for the first account, and so are the link's scopes. No row: the link is gone, or its user is
-- disabled.
CREATE OR REPLACE FUNCTION authserver.claim_link(
    _digest bytea, _folded_name text, _name text, _kind text, _value bytea, _grants boolean
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
    VALUES (
        _invitation.subject, _folded_name, _name,
        CASE WHEN NOT EXISTS (SELECT FROM authserver.users) THEN _invitation.scopes END, _now)
    ON CONFLICT (folded_name) DO NOTHING;
    SELECT * INTO _user FROM authserver.users
    WHERE folded_name = _folded_name AND disabled_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF _kind IS NOT NULL THEN
        INSERT INTO authserver.credentials AS stored (subject, kind, value, counter)
        VALUES (_user.subject, _kind, _value, 1)
        ON CONFLICT (subject, kind) DO UPDATE SET value = excluded.value, counter = stored.counter + 1;
    END IF;
    IF _user.subject <> _invitation.subject THEN  -- it is not new
        _user.epoch := authserver.next_epoch(_user.subject, NULL, _grants, _now);
    END IF;
    RETURN NEXT _user;
END $$;

-- As nodes of 0.2.0 call it, which end grants afterwards.
CREATE OR REPLACE FUNCTION authserver.claim_invitation(
    _digest bytea, _folded_name text, _name text, _kind text, _value bytea
) RETURNS SETOF authserver.users
LANGUAGE sql SET search_path = '' AS $$
    SELECT * FROM authserver.claim_link(_digest, _folded_name, _name, _kind, _value, false)
$$;
