-- What is deleted by its age. The rules of shared.sql hold here.

-- Delete up to _limit records of each sort that hang off grants that are over, then such grants off which
-- nothing hangs; return how many. Over are expired ones, and of that client or user the revoked ones. What
-- somebody else deletes right now is skipped.
CREATE OR REPLACE FUNCTION authserver.sweep(_limit integer, _client_id text, _subject text) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision := extract(epoch FROM clock_timestamp());
    _table text;
    _deleted bigint;
    _total bigint := 0;
BEGIN
    FOREACH _table IN ARRAY ARRAY['access_tokens', 'refresh_tokens', 'codes'] LOOP
        EXECUTE format(
            'DELETE FROM authserver.%1$I WHERE digest = ANY (ARRAY(
                SELECT hanging.digest FROM authserver.grants AS over
                CROSS JOIN LATERAL (
                    SELECT digest FROM authserver.%1$I AS found WHERE found.grant_id = over.grant_id
                    LIMIT $1 FOR UPDATE SKIP LOCKED) AS hanging
                WHERE over.expires_at <= $2
                OR over.revoked_at IS NOT NULL AND (over.client_id = $3 OR over.subject = $4)
                LIMIT $1))', _table) USING _limit, _now, _client_id, _subject;
        GET DIAGNOSTICS _deleted = ROW_COUNT;
        _total := _total + _deleted;
    END LOOP;
    DELETE FROM authserver.grants WHERE grant_id = ANY (ARRAY(
        SELECT grant_id FROM authserver.grants AS over
        WHERE (
            over.expires_at <= _now
            OR over.revoked_at IS NOT NULL AND (over.client_id = _client_id OR over.subject = _subject))
        AND NOT EXISTS (SELECT FROM authserver.access_tokens AS a WHERE a.grant_id = over.grant_id)
        AND NOT EXISTS (SELECT FROM authserver.refresh_tokens AS r WHERE r.grant_id = over.grant_id)
        AND NOT EXISTS (SELECT FROM authserver.codes AS c WHERE c.grant_id = over.grant_id)
        LIMIT _limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS _deleted = ROW_COUNT;
    RETURN _total + _deleted;
END $$;

-- Revoke the grants of clients that are idle; return these.
CREATE OR REPLACE FUNCTION authserver.end_idle_grants(_limit integer, _idle_seconds double precision)
RETURNS text[]
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision := extract(epoch FROM clock_timestamp());
    _clients text[];
BEGIN
    -- A client that somebody uses right now is locked, and skipped.
    _clients := ARRAY(
        SELECT client_id FROM authserver.clients
        WHERE completed_at < _now - _idle_seconds
        AND NOT EXISTS (
            SELECT FROM authserver.grants
            WHERE grants.client_id = clients.client_id AND grants.used_at >= _now - _idle_seconds)
        LIMIT _limit FOR UPDATE SKIP LOCKED);
    -- Its grants may have been used since the look: they are locked, and looked at again.
    PERFORM FROM authserver.grants WHERE client_id = ANY (_clients) ORDER BY grant_id FOR UPDATE;
    _clients := ARRAY(
        SELECT client_id FROM authserver.clients WHERE client_id = ANY (_clients) AND NOT EXISTS (
            SELECT FROM authserver.grants
            WHERE grants.client_id = clients.client_id AND grants.used_at >= _now - _idle_seconds));
    PERFORM authserver.end_grants(
        ARRAY(SELECT grant_id FROM authserver.grants WHERE client_id = ANY (_clients)), _now);
    RETURN _clients;
END $$;

-- Delete clients without grants: those that never redeemed a code, and idle ones where _idle_seconds is given;
-- return how many.
CREATE OR REPLACE FUNCTION authserver.purge_clients(
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
            completed_at IS NULL AND created_at < _now - _unused_seconds))
        AND NOT EXISTS (SELECT FROM authserver.grants WHERE grants.client_id = clients.client_id)
        LIMIT _limit FOR UPDATE SKIP LOCKED);
    -- One may have got a grant since the look: now that they are locked, they are looked at again.
    DELETE FROM authserver.clients WHERE client_id = ANY (_clients)
    AND NOT EXISTS (SELECT FROM authserver.grants WHERE grants.client_id = clients.client_id);
    GET DIAGNOSTICS _deleted = ROW_COUNT;
    RETURN _deleted;
END $$;
