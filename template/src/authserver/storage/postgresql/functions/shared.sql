-- Operations of several steps, as functions: one call, one transaction, one round trip.
--
-- While nodes are upgraded one after the other, old and new ones call these at the same time, and all get what
-- is here. So the name, the arguments and the columns of the result never change: what needs other ones is a
-- function of a new name, and the old one stays. The body may change, if it still serves the nodes of the
-- release before. Then raise NUMBER in __init__.py.
--
-- All work under READ COMMITTED: a function first locks what it judges, then reads the clock, once, then
-- judges by statements that see all that was committed before. Locks are taken in one order, so that no two
-- operations wait for each other: advisory lock, invitation, user, client, grant (by id), whatever hangs off
-- it. Advisory locks: 0 the schema, 1 accounts, 2 registrations, 3 requests of an address, 4 buckets.

-- The time at which a statement came, for those that wait for nobody. What ends by it is never read from a node
-- that is no primary, wherever a pooler takes the statement: what was revoked may live there.
CREATE OR REPLACE FUNCTION authserver.now() RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    IF pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'the node is no primary' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN extract(epoch FROM statement_timestamp())::double precision;
END $$;

-- Revoke grants that the caller has locked; say how many were alive.
CREATE OR REPLACE FUNCTION authserver.end_grants(_grants text[], _now double precision) RETURNS bigint
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
