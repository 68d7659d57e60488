-- Registered clients. The rules of shared.sql hold here.

CREATE OR REPLACE FUNCTION authserver.register_client(
    _client_id text, _metadata text, _secret_digest bytea, _address text, _approved boolean,
    _completed boolean, _place text, _networks text[], _most integer[]
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _since double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(2, 0);
    IF EXISTS (SELECT FROM authserver.clients WHERE client_id = _client_id) THEN
        RETURN;
    END IF;
    _since := extract(epoch FROM clock_timestamp());
    IF NOT _completed THEN
        _since := authserver.make_room(_place, _networks, _most, _since);
    END IF;
    INSERT INTO authserver.clients
        (client_id, metadata, secret_digest, address, place, created_at, approved_at, completed_at)
    VALUES (
        _client_id, _metadata, _secret_digest, _address, _place, _since,
        CASE WHEN _approved THEN _since END, CASE WHEN _completed THEN _since END);
END $$;

-- As nodes of release 0.2.0 register a client.
CREATE OR REPLACE FUNCTION authserver.add_client(
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

-- Revoke all grants of a client; say how many were alive.
CREATE OR REPLACE FUNCTION authserver.end_client(_client_id text) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _grants text[];
BEGIN
    _grants := ARRAY(
        SELECT grant_id FROM authserver.grants WHERE client_id = _client_id ORDER BY grant_id FOR UPDATE);
    RETURN authserver.end_grants(_grants, extract(epoch FROM clock_timestamp())::double precision);
END $$;

CREATE OR REPLACE FUNCTION authserver.remove_client(_client_id text) RETURNS boolean
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
