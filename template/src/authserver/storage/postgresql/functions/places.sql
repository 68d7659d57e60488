-- How the places of unused clients are shared among the networks that they came from. The rules of shared.sql
-- hold here.

-- Delete an unused client if a share is used up; return since when the new one has its place.
CREATE OR REPLACE FUNCTION authserver.make_room(
    _place text, _networks text[], _most integer[], _now double precision
) RETURNS double precision
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    _digits text;
    _width integer;
    _victim text;
    _since double precision;
BEGIN
    SELECT digits INTO _digits
    FROM unnest(_networks, _most) WITH ORDINALITY AS shares (digits, most, number)
    WHERE most <= (
        SELECT count(*) FROM authserver.clients
        WHERE completed_at IS NULL AND place >= digits AND place < digits || 'g')
    ORDER BY number LIMIT 1;
    IF NOT FOUND THEN
        RETURN _now;
    END IF;
    FOREACH _width IN ARRAY ARRAY[12, 14, 16] LOOP
        IF _width > length(_digits) THEN
            -- The heaviest network; the new client counts. Of equal ones it is the one with the youngest
            -- client, but where nobody has more than one, the oldest.
            SELECT network INTO _digits FROM (
                SELECT left(place, _width) AS network, max(created_at) AS youngest,
                    count(*) + (left(place, _width) = left(_place, _width))::integer AS weight
                FROM authserver.clients
                WHERE completed_at IS NULL AND place >= _digits AND place < _digits || 'g'
                GROUP BY left(place, _width)) AS found
            ORDER BY weight DESC,
                CASE WHEN weight = 1 AND _digits = '' THEN youngest ELSE -youngest END
            LIMIT 1;
        END IF;
    END LOOP;
    SELECT client_id, created_at INTO _victim, _since FROM authserver.clients
    WHERE completed_at IS NULL AND place = _digits
    ORDER BY created_at DESC LIMIT 1 FOR UPDATE;
    -- No row: it was used just now, and is out of the count.
    PERFORM FROM authserver.grants WHERE client_id = _victim ORDER BY grant_id FOR UPDATE;
    DELETE FROM authserver.clients WHERE client_id = _victim;
    RETURN CASE WHEN left(_digits, 12) = left(_place, 12) THEN coalesce(_since, _now) ELSE _now END;
END $$;
