-- The life of a grant. The rules of shared.sql hold here.

CREATE OR REPLACE FUNCTION authserver.add_authorization_request(
    _digest bytea, _client_id text, _redirect_uri text, _redirect_uri_explicit boolean, _state text,
    _scopes text, _code_challenge text, _resource text, _address text, _lifetime double precision,
    _limit integer
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(3, hashtext(_address));
    PERFORM FROM authserver.clients WHERE client_id = _client_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _now := extract(epoch FROM clock_timestamp());
    IF (SELECT count(*) FROM authserver.authorization_requests
        WHERE address = _address AND expires_at > _now) >= _limit THEN
        -- The youngest of the client that has the most there; the new one counts.
        DELETE FROM authserver.authorization_requests WHERE digest = (
            SELECT digest FROM (
                SELECT digest, expires_at,
                    count(*) OVER (PARTITION BY client_id) + (client_id = _client_id)::integer AS weight
                FROM authserver.authorization_requests
                WHERE address = _address AND expires_at > _now) AS waiting
            ORDER BY weight DESC, expires_at DESC LIMIT 1);
    END IF;
    INSERT INTO authserver.authorization_requests
        (digest, client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge, resource,
         address, expires_at)
    VALUES (
        _digest, _client_id, _redirect_uri, _redirect_uri_explicit, _state, _scopes, _code_challenge,
        _resource, _address, _now + _lifetime);
    RETURN true;
END $$;

-- Return the request that was consumed for it. No row: request, session, user or client is gone.
CREATE OR REPLACE FUNCTION authserver.create_grant_by_session(
    _request bytea, _grant_id text, _session bytea, _scopes text, _grant_seconds double precision,
    _code bytea, _code_seconds double precision, _remember_seconds double precision
) RETURNS SETOF authserver.authorization_requests
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _taken authserver.authorization_requests;
    _user authserver.users;
    _now double precision;
BEGIN
    -- Whoever ends the user's access waits, and then finds this grant.
    SELECT * INTO _user FROM authserver.users
    WHERE subject = (SELECT subject FROM authserver.sessions WHERE digest = _session)
    AND disabled_at IS NULL FOR SHARE;
    PERFORM FROM authserver.sessions
    WHERE digest = _session AND epoch = _user.epoch AND expires_at > extract(epoch FROM clock_timestamp())
    FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM authserver.clients WHERE client_id = (
        SELECT client_id FROM authserver.authorization_requests WHERE digest = _request) FOR KEY SHARE;
    _now := extract(epoch FROM clock_timestamp());
    DELETE FROM authserver.authorization_requests WHERE digest = _request AND expires_at > _now
    RETURNING * INTO _taken;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO authserver.grants
        (grant_id, client_id, subject, scopes, resource, redirect_uri, created_at, used_at, expires_at,
         access_until, remembered_until)
    VALUES (
        _grant_id, _taken.client_id, _user.subject, _scopes, _taken.resource, _taken.redirect_uri, _now, _now,
        _now + _grant_seconds, _now, _now + _remember_seconds);
    INSERT INTO authserver.codes (digest, grant_id, redirect_uri_explicit, code_challenge, expires_at)
    VALUES (
        _code, _grant_id, _taken.redirect_uri_explicit, _taken.code_challenge, _now + _code_seconds);
    RETURN NEXT _taken;
END $$;

-- As nodes of 0.2.0 call it: in the name of the user's latest session, since they tell none.
CREATE OR REPLACE FUNCTION authserver.create_grant(
    _request bytea, _grant_id text, _subject text, _scopes text, _grant_seconds double precision,
    _code bytea, _code_seconds double precision, _remember_seconds double precision
) RETURNS SETOF authserver.authorization_requests
LANGUAGE sql SET search_path = '' AS $$
    SELECT * FROM authserver.create_grant_by_session(
        _request, _grant_id,
        (SELECT digest FROM authserver.sessions JOIN authserver.users USING (subject, epoch)
         WHERE subject = _subject ORDER BY sessions.created_at DESC LIMIT 1),
        _scopes, _grant_seconds, _code, _code_seconds, _remember_seconds)
$$;

-- Store new tokens of a grant that the caller has locked; return when the access token runs out.
CREATE OR REPLACE FUNCTION authserver.store_tokens(
    _grant authserver.living_grants, _scopes text, _access bytea, _refresh bytea,
    _access_seconds double precision, _refresh_seconds double precision, _now double precision
) RETURNS double precision
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _until double precision := least(_now + _access_seconds, _grant.expires_at);
BEGIN
    IF _refresh IS NOT NULL THEN
        INSERT INTO authserver.refresh_tokens (digest, grant_id, expires_at)
        VALUES (_refresh, _grant.grant_id, least(_now + _refresh_seconds, _grant.expires_at));
    END IF;
    IF _access IS NOT NULL THEN
        INSERT INTO authserver.access_tokens (digest, grant_id, scopes, expires_at)
        VALUES (_access, _grant.grant_id, _scopes, _until);
    END IF;
    UPDATE authserver.grants SET used_at = _now, access_until = greatest(access_until, _until)
    WHERE grant_id = _grant.grant_id;
    RETURN _until;
END $$;

-- The verdict: redeemed, or replayed. No row: nothing is alive.
CREATE OR REPLACE FUNCTION authserver.redeem_code(
    _digest bytea, _attempt bytea, _access bytea, _refresh bytea, _access_seconds double precision,
    _refresh_seconds double precision
) RETURNS TABLE (
    verdict text, grant_id text, client_id text, subject text, user_name text, scopes text, resource text,
    issued_at double precision, expires_at double precision
)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    _code authserver.codes;
    _grant authserver.living_grants;
    _now double precision;
BEGIN
    SELECT * INTO _code FROM authserver.codes WHERE digest = _digest;
    PERFORM FROM authserver.clients WHERE completed_at IS NULL AND client_id = (
        SELECT client_id FROM authserver.grants WHERE grant_id = _code.grant_id) FOR NO KEY UPDATE;
    PERFORM FROM authserver.grants WHERE grant_id = _code.grant_id FOR NO KEY UPDATE;
    _now := extract(epoch FROM clock_timestamp());
    SELECT * INTO _code FROM authserver.codes WHERE digest = _digest AND expires_at > _now;
    SELECT * INTO _grant FROM authserver.living_grants
    WHERE grant_id = _code.grant_id AND expires_at > _now;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    verdict := 'redeemed';
    IF _code.attempt IS NULL THEN
        _code.spent_at := _now;
        _code.access_expires_at := authserver.store_tokens(
            _grant, _grant.scopes, _access, _refresh, _access_seconds, _refresh_seconds, _now);
        UPDATE authserver.codes
        SET attempt = _attempt, spent_at = _code.spent_at, access_expires_at = _code.access_expires_at
        WHERE digest = _digest;
        UPDATE authserver.clients SET completed_at = _now
        WHERE client_id = _grant.client_id AND completed_at IS NULL;
    ELSIF _code.attempt <> _attempt THEN
        verdict := 'replayed';
        PERFORM authserver.end_grants(ARRAY[_grant.grant_id], _now);
    END IF;
    RETURN QUERY SELECT
        verdict, _grant.grant_id, _grant.client_id, _grant.subject, _grant.user_name, _grant.scopes,
        _grant.resource, _code.spent_at, _code.access_expires_at;
END $$;

-- Of the spent refresh tokens of a grant, the last _kept stay, and those spent since then; two go at a time.
CREATE OR REPLACE FUNCTION authserver.forget_spent(_grant_id text, _kept integer, _before double precision)
RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    DELETE FROM authserver.refresh_tokens WHERE digest = ANY (ARRAY(
        SELECT digest FROM authserver.refresh_tokens
        WHERE grant_id = _grant_id AND spent_at < _before AND spent_at <= (
            SELECT spent_at FROM authserver.refresh_tokens
            WHERE grant_id = _grant_id AND spent_at IS NOT NULL
            ORDER BY spent_at DESC LIMIT 1 OFFSET _kept)
        ORDER BY spent_at LIMIT 2))
$$;

-- The verdict: rotated, repeated, limited, or reused. No row: nothing is alive. No bucket: no limit.
CREATE OR REPLACE FUNCTION authserver.spend_refresh_token(
    _digest bytea, _scopes text, _salt bytea, _replay_seconds double precision, _access bytea,
    _refresh bytea, _access_seconds double precision, _refresh_seconds double precision,
    _bucket bytea, _burst integer, _interval double precision, _kept integer
) RETURNS TABLE (
    verdict text, wait double precision, salt bytea, grant_id text, client_id text, subject text,
    user_name text, scopes text, resource text, issued_at double precision, expires_at double precision
)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    _token authserver.refresh_tokens;
    _grant authserver.living_grants;
    _now double precision;
BEGIN
    PERFORM FROM authserver.grants WHERE grant_id = (
        SELECT grant_id FROM authserver.refresh_tokens WHERE digest = _digest) FOR NO KEY UPDATE;
    _now := extract(epoch FROM clock_timestamp());
    SELECT * INTO _token FROM authserver.refresh_tokens WHERE digest = _digest AND expires_at > _now;
    SELECT * INTO _grant FROM authserver.living_grants
    WHERE grant_id = _token.grant_id AND expires_at > _now;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    verdict := 'rotated';
    IF _token.spent_at IS NULL THEN
        IF _bucket IS NOT NULL THEN
            wait := authserver.take_attempt(ARRAY[_bucket], ARRAY[_burst], ARRAY[_interval]);
        END IF;
        IF wait > 0 THEN
            verdict := 'limited';
        ELSE
            _token.salt := _salt;
            _token.spent_at := _now;
            _token.access_scopes := _scopes;
            _token.access_expires_at := authserver.store_tokens(
                _grant, _scopes, _access, _refresh, _access_seconds, _refresh_seconds, _now);
            UPDATE authserver.refresh_tokens
            SET salt = _salt, spent_at = _now, access_scopes = _scopes,
                access_expires_at = _token.access_expires_at
            WHERE digest = _digest;
            PERFORM authserver.forget_spent(_grant.grant_id, _kept, _now - _replay_seconds);
        END IF;
    ELSIF _token.salt IS NOT NULL AND _now - _token.spent_at <= _replay_seconds THEN
        verdict := CASE WHEN _token.salt = _salt THEN 'rotated' ELSE 'repeated' END;
    ELSIF _token.salt IS DISTINCT FROM _salt THEN
        verdict := 'reused';
        PERFORM authserver.end_grants(ARRAY[_grant.grant_id], _now);
    END IF;
    RETURN QUERY SELECT
        verdict, wait, _token.salt, _grant.grant_id, _grant.client_id, _grant.subject, _grant.user_name,
        _token.access_scopes, _grant.resource, _token.spent_at, _token.access_expires_at;
END $$;

-- As nodes of 0.2.0 ask: no limit, and nothing is forgotten.
CREATE OR REPLACE FUNCTION authserver.rotate_refresh_token(
    _digest bytea, _scopes text, _salt bytea, _replay_seconds double precision, _access bytea,
    _refresh bytea, _access_seconds double precision, _refresh_seconds double precision
) RETURNS TABLE (
    verdict text, salt bytea, grant_id text, client_id text, subject text, user_name text, scopes text,
    resource text, issued_at double precision, expires_at double precision
)
LANGUAGE sql SET search_path = '' AS $$
    SELECT
        verdict, salt, grant_id, client_id, subject, user_name, scopes, resource, issued_at, expires_at
    FROM authserver.spend_refresh_token(
        _digest, _scopes, _salt, _replay_seconds, _access, _refresh, _access_seconds, _refresh_seconds,
        NULL, NULL, NULL, 2147483647)
$$;

CREATE OR REPLACE FUNCTION authserver.revoke_grant(_grant_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM FROM authserver.grants WHERE grant_id = _grant_id FOR NO KEY UPDATE;
    RETURN authserver.end_grants(
        ARRAY[_grant_id], extract(epoch FROM clock_timestamp())::double precision) > 0;
END $$;

-- Revoke a grant since a spent refresh token of it came again, of which nothing is stored any more. False if it
-- is stored, or if the grant is not alive, or has no refresh token that is not spent.
CREATE OR REPLACE FUNCTION authserver.revoke_forgotten(_digest bytea, _grant_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision;
BEGIN
    PERFORM FROM authserver.grants WHERE grant_id = _grant_id FOR NO KEY UPDATE;
    _now := extract(epoch FROM clock_timestamp());
    RETURN NOT EXISTS (SELECT FROM authserver.refresh_tokens WHERE digest = _digest)
        AND EXISTS (SELECT FROM authserver.living_grants WHERE grant_id = _grant_id AND expires_at > _now)
        AND EXISTS (
            SELECT FROM authserver.refresh_tokens
            WHERE grant_id = _grant_id AND spent_at IS NULL AND expires_at > _now)
        AND authserver.end_grants(ARRAY[_grant_id], _now) > 0;
END $$;
