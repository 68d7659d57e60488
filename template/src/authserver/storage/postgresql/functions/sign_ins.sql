-- Credentials, and limits on attempts. The rules of shared.sql hold here.

-- Store a session in the epoch in which it was begun, and end the oldest beyond the limit; say whether it is
-- still that epoch. Sign-ins of a user go one after the other, so that all of them count.
CREATE OR REPLACE FUNCTION authserver.add_session(
    _digest bytea, _subject text, _epoch bigint, _device text, _lifetime double precision, _limit integer
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _now double precision;
BEGIN
    PERFORM FROM authserver.users
    WHERE subject = _subject AND epoch = _epoch AND disabled_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    _now := extract(epoch FROM clock_timestamp());
    INSERT INTO authserver.sessions (digest, subject, device, created_at, expires_at, epoch)
    VALUES (_digest, _subject, _device, _now, _now + _lifetime, _epoch) ON CONFLICT DO NOTHING;
    DELETE FROM authserver.sessions WHERE digest IN (
        SELECT digest FROM authserver.sessions WHERE subject = _subject
        ORDER BY digest = _digest DESC, created_at DESC OFFSET _limit);
    RETURN true;
END $$;

-- As nodes of 0.2.0 call it. The user's row keeps two deletions apart: each sees what the other left.
CREATE OR REPLACE FUNCTION authserver.delete_credential(_subject text, _kind text, _beside text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM FROM authserver.users WHERE subject = _subject FOR NO KEY UPDATE;
    DELETE FROM authserver.credentials
    WHERE subject = _subject AND kind = _kind AND (_beside IS NULL OR EXISTS (
        SELECT FROM authserver.credentials
        WHERE subject = _subject AND kind <> _kind AND starts_with(kind, _beside)));
    RETURN FOUND;
END $$;

-- Of all who count in these buckets one goes on, the others wait.
CREATE OR REPLACE FUNCTION authserver.lock_buckets(_keys bytea[]) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT pg_advisory_xact_lock(4, number) FROM (
        SELECT DISTINCT hashtext(encode(key, 'hex')) AS number FROM unnest(_keys) AS key ORDER BY number
    ) AS locks
$$;

-- Count an attempt in all buckets, or in none (generic cell rate algorithm); return the seconds to wait.
CREATE OR REPLACE FUNCTION authserver.take_attempt(
    _keys bytea[], _bursts integer[], _intervals double precision[]
) RETURNS double precision
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

CREATE OR REPLACE FUNCTION authserver.return_attempt(_keys bytea[], _intervals double precision[])
RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM authserver.lock_buckets(_keys);
    UPDATE authserver.buckets SET full_at = full_at - wanted.seconds
    FROM unnest(_keys, _intervals) AS wanted (key, seconds) WHERE buckets.key = wanted.key;
END $$;
