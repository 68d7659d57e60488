-- Times are seconds since the epoch, UTC. A digest is the SHA-256 of a secret value; see secret_values.py.
-- Every name is written with its schema: nothing depends on search_path.
-- Keys compare byte by byte (COLLATE "C"), so that no index depends on the libraries of the machine.

DO $$ BEGIN
    -- Whoever may not create schemas can be given this one.
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'authserver') THEN
        CREATE SCHEMA authserver;
    END IF;
END $$;

CREATE TABLE authserver.schema_versions (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE authserver.facts (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE authserver.clients (
    client_id text COLLATE "C" PRIMARY KEY,
    metadata text NOT NULL,
    secret_digest bytea,
    address text COLLATE "C" NOT NULL,
    created_at double precision NOT NULL,
    approved_at double precision,
    completed_at double precision
);
CREATE INDEX clients_unused ON authserver.clients (address, created_at) WHERE completed_at IS NULL;

CREATE TABLE authserver.users (
    subject text COLLATE "C" PRIMARY KEY,
    folded_name text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    scopes text,
    created_at double precision NOT NULL,
    disabled_at double precision,
    disabled_by text
);

CREATE TABLE authserver.invitations (
    digest bytea PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    folded_name text COLLATE "C" UNIQUE,
    name text,
    scopes text,
    expires_at double precision NOT NULL
);

CREATE TABLE authserver.credentials (
    subject text COLLATE "C" NOT NULL REFERENCES authserver.users ON DELETE CASCADE,
    kind text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    counter integer NOT NULL,
    PRIMARY KEY (subject, kind)
);

CREATE TABLE authserver.sessions (
    digest bytea PRIMARY KEY,
    subject text COLLATE "C" NOT NULL REFERENCES authserver.users ON DELETE CASCADE,
    device text NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision NOT NULL
);
CREATE INDEX sessions_subject ON authserver.sessions (subject);
CREATE INDEX sessions_expiry ON authserver.sessions (expires_at);

CREATE TABLE authserver.tickets (
    digest bytea PRIMARY KEY,
    value bytea NOT NULL,
    expires_at double precision NOT NULL
);
CREATE INDEX tickets_expiry ON authserver.tickets (expires_at);

CREATE TABLE authserver.buckets (
    key bytea PRIMARY KEY,
    full_at double precision NOT NULL
);
CREATE INDEX buckets_full ON authserver.buckets (full_at);

CREATE TABLE authserver.authorization_requests (
    digest bytea PRIMARY KEY,
    client_id text COLLATE "C" NOT NULL REFERENCES authserver.clients ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    redirect_uri_explicit boolean NOT NULL,
    state text,
    scopes text NOT NULL,
    code_challenge text NOT NULL,
    resource text NOT NULL,
    address text COLLATE "C" NOT NULL,
    expires_at double precision NOT NULL
);
CREATE INDEX authorization_requests_address ON authserver.authorization_requests (address, expires_at);
CREATE INDEX authorization_requests_client ON authserver.authorization_requests (client_id);
CREATE INDEX authorization_requests_expiry ON authserver.authorization_requests (expires_at);

CREATE TABLE authserver.grants (
    grant_id text COLLATE "C" PRIMARY KEY,
    client_id text COLLATE "C" NOT NULL REFERENCES authserver.clients ON DELETE CASCADE,
    subject text COLLATE "C" NOT NULL REFERENCES authserver.users ON DELETE CASCADE,
    scopes text NOT NULL,
    resource text NOT NULL,
    redirect_uri text NOT NULL,
    created_at double precision NOT NULL,
    used_at double precision NOT NULL,
    expires_at double precision NOT NULL,
    revoked_at double precision,
    -- when its last access token runs out
    access_until double precision NOT NULL,
    -- until when the same may be allowed without asking the user again
    remembered_until double precision NOT NULL
);
CREATE INDEX grants_client ON authserver.grants (client_id);
CREATE INDEX grants_subject ON authserver.grants (subject);
CREATE INDEX grants_expiry ON authserver.grants (expires_at);

-- Grants that ended before their access tokens did, and may be deleted already.
CREATE TABLE authserver.revocations (
    grant_id text COLLATE "C" PRIMARY KEY,
    revoked_at double precision NOT NULL,
    until double precision NOT NULL
);
CREATE INDEX revocations_time ON authserver.revocations (revoked_at);
CREATE INDEX revocations_until ON authserver.revocations (until);

CREATE TABLE authserver.codes (
    digest bytea PRIMARY KEY,
    grant_id text COLLATE "C" NOT NULL REFERENCES authserver.grants ON DELETE CASCADE,
    redirect_uri_explicit boolean NOT NULL,
    code_challenge text NOT NULL,
    expires_at double precision NOT NULL,
    -- set when it is spent
    attempt bytea,
    spent_at double precision,
    access_expires_at double precision
);
CREATE INDEX codes_grant ON authserver.codes (grant_id);
CREATE INDEX codes_expiry ON authserver.codes (expires_at);

CREATE TABLE authserver.refresh_tokens (
    digest bytea PRIMARY KEY,
    grant_id text COLLATE "C" NOT NULL REFERENCES authserver.grants ON DELETE CASCADE,
    expires_at double precision NOT NULL,
    -- set when it is spent; the salt goes after the replay window
    salt bytea,
    spent_at double precision,
    access_scopes text,
    access_expires_at double precision
);
CREATE INDEX refresh_tokens_grant ON authserver.refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_expiry ON authserver.refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_salted ON authserver.refresh_tokens (spent_at) WHERE salt IS NOT NULL;

CREATE TABLE authserver.access_tokens (
    digest bytea PRIMARY KEY,
    grant_id text COLLATE "C" NOT NULL REFERENCES authserver.grants ON DELETE CASCADE,
    scopes text NOT NULL,
    expires_at double precision NOT NULL
);
CREATE INDEX access_tokens_grant ON authserver.access_tokens (grant_id);
CREATE INDEX access_tokens_expiry ON authserver.access_tokens (expires_at);

-- Every check of a code or token goes through here: validity joins grant, user and client.
CREATE VIEW authserver.living_grants AS
SELECT grants.*, users.name AS user_name, users.scopes AS entitlement
FROM authserver.grants
JOIN authserver.users ON users.subject = grants.subject
JOIN authserver.clients ON clients.client_id = grants.client_id
WHERE grants.revoked_at IS NULL AND users.disabled_at IS NULL;
