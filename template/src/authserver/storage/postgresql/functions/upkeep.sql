-- What is deleted by its age. The rules of shared.sql hold here.

-- Delete clients that never redeemed a code, and idle ones where _idle_seconds is given; return how many.
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
