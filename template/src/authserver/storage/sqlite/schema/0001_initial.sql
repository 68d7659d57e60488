-- Times are seconds since the epoch, UTC. A digest is the SHA-256 of a secret value; see secret_values.py.

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE clients (
    client_id TEXT PRIMARY KEY,
    metadata TEXT NOT NULL,
    secret_digest BLOB,
    address TEXT NOT NULL,
    created_at REAL NOT NULL,
    approved_at REAL,
    completed_at REAL
);
CREATE INDEX clients_unused ON clients (address, created_at) WHERE completed_at IS NULL;

CREATE TABLE users (
    subject TEXT PRIMARY KEY,
    folded_name TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes TEXT,
    created_at REAL NOT NULL,
    disabled_at REAL,
    disabled_by TEXT
);

CREATE TABLE invitations (
    digest BLOB PRIMARY KEY,
    subject TEXT NOT NULL,
    folded_name TEXT UNIQUE,
    name TEXT,
    scopes TEXT,
    expires_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE credentials (
    subject TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    kind TEXT NOT NULL,
    value BLOB NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (subject, kind)
) WITHOUT ROWID;

CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    device TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE tickets (
    digest BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX tickets_expiry ON tickets (expires_at);

CREATE TABLE buckets (
    key BLOB PRIMARY KEY,
    full_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX buckets_full ON buckets (full_at);

CREATE TABLE authorization_requests (
    digest BLOB PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients ON DELETE CASCADE,
    redirect_uri TEXT NOT NULL,
    redirect_uri_explicit INTEGER NOT NULL,
    state TEXT,
    scopes TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    resource TEXT NOT NULL,
    address TEXT NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX authorization_requests_address ON authorization_requests (address, expires_at);
CREATE INDEX authorization_requests_client ON authorization_requests (client_id);
CREATE INDEX authorization_requests_expiry ON authorization_requests (expires_at);

CREATE TABLE grants (
    grant_id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients ON DELETE CASCADE,
    subject TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    resource TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    created_at REAL NOT NULL,
    used_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL,
    -- when its last access token runs out
    access_until REAL NOT NULL,
    -- until when the same may be allowed without asking the user again
    remembered_until REAL NOT NULL
);
CREATE INDEX grants_client ON grants (client_id);
CREATE INDEX grants_subject ON grants (subject);
CREATE INDEX grants_expiry ON grants (expires_at);

-- Grants that ended before their access tokens did, and may be deleted already.
CREATE TABLE revocations (
    grant_id TEXT PRIMARY KEY,
    revoked_at REAL NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX revocations_time ON revocations (revoked_at);
CREATE INDEX revocations_until ON revocations (until);

CREATE TABLE codes (
    digest BLOB PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants ON DELETE CASCADE,
    redirect_uri_explicit INTEGER NOT NULL,
    code_challenge TEXT NOT NULL,
    expires_at REAL NOT NULL,
    -- set when it is spent
    attempt BLOB,
    spent_at REAL,
    access_expires_at REAL
) WITHOUT ROWID;
CREATE INDEX codes_grant ON codes (grant_id);
CREATE INDEX codes_expiry ON codes (expires_at);

CREATE TABLE refresh_tokens (
    digest BLOB PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants ON DELETE CASCADE,
    expires_at REAL NOT NULL,
    -- set when it is spent; the salt goes after the replay window
    salt BLOB,
    spent_at REAL,
    access_scopes TEXT,
    access_expires_at REAL
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_salted ON refresh_tokens (spent_at) WHERE salt IS NOT NULL;

CREATE TABLE access_tokens (
    digest BLOB PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX access_tokens_grant ON access_tokens (grant_id);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_at);

-- Every check of a code or token goes through here: validity joins grant, user and client.
CREATE VIEW living_grants AS
SELECT grants.*, users.name AS user_name, users.scopes AS entitlement
FROM grants
JOIN users ON users.subject = grants.subject
JOIN clients ON clients.client_id = grants.client_id
WHERE grants.revoked_at IS NULL AND users.disabled_at IS NULL;
