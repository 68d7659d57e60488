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

CREATE OR REPLACE FUNCTION authserver.disable_user(_folded_name text, _by text, _over_others boolean)
RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _subject text;
    _grants text[];
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(1, 0);
    DELETE FROM authserver.invitations WHERE folded_name = _folded_name;
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

CREATE OR REPLACE FUNCTION authserver.delete_user(_folded_name text) RETURNS boolean
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
CREATE OR REPLACE FUNCTION authserver.claim_invitation(
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
    VALUES (
        _invitation.subject, _folded_name, _name,
        CASE WHEN NOT EXISTS (SELECT FROM authserver.users) THEN _invitation.scopes END, _now)
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
