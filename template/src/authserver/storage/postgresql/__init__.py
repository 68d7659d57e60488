"""Storage in a PostgreSQL database, for any number of nodes.

Each operation is one statement or one function of the schema (`schema/*.sql`): one round trip, one
transaction, on the database's clock.
"""

import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Client,
    Credential,
    Grant,
    Invitation,
    RefreshToken,
    Revocation,
    Session,
    User,
)
from authserver.settings import CoreSettings
from authserver.storage import (
    OPERATOR,
    TABLES,
    Bucket,
    Gone,
    Lifetimes,
    NewTokens,
    NotEmpty,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
    Row,
)
from authserver.storage.postgresql.connections import Connection, Connections, translated
from authserver.storage.postgresql.doctor import checks
from authserver.storage.postgresql.rows import (
    AUTHORIZATION_REQUEST,
    CLIENT,
    SESSIONS,
    USER,
    client_of,
    first,
    issued,
    record,
    text,
)
from authserver.storage.postgresql.upkeep import DUMP, FILL, PURGE, PURGE_SALTS

__all__ = ["Settings", "checks", "create"]

_SCHEMES = {"postgresql", "postgres"}
_HOST = re.compile(r"([^:\[\]@]*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_BATCH = 500


class Settings(CoreSettings):
    """Where the database is, and how it is connected to."""

    storage_url: SecretStr = Field(
        default=..., examples=["postgresql://name:password@db.example.com/authserver?sslmode=verify-full"]
    )
    """A database of the server's own, PostgreSQL 13 or newer. Special characters of the password are
    percent-encoded. sslmode=verify-full&sslrootcert=FILE lets nobody listen or answer in its place.
    """

    storage_pooler: bool = Field(default=False, examples=["True"])
    """Whether a pooler such as PgBouncer stands between, in transaction mode."""

    storage_connections: int = Field(default=10, gt=0, examples=["10"])
    """How many connections each process may hold."""

    @field_validator("storage_url")
    @classmethod
    def _storage_url(cls, value: SecretStr) -> SecretStr:
        url = urlsplit(value.get_secret_value())
        hosts = url.netloc.rpartition("@")[2].split(",")
        named = len(url.path) > 1 or "dbname" in parse_qs(url.query)
        stray = "@" in url.path or "@" in url.netloc.rpartition("@")[0] or url.fragment
        if url.scheme not in _SCHEMES or not named or stray or not all(map(_HOST.fullmatch, hosts)):
            raise ValueError(
                "it must name a host and a database, and special characters of the password must be"
                " percent-encoded (@ as %40)"
            )
        return value


def create(settings: Settings) -> "PostgreSQLStorage":
    """Return the storage for these settings; nothing is opened yet."""
    connections = Connections(
        settings.storage_url.get_secret_value(),
        size=settings.storage_connections,
        pooled=settings.storage_pooler,
    )
    return PostgreSQLStorage(connections)


def _fold(name: str) -> str:
    return name.casefold()


class PostgreSQLStorage:
    """The Storage protocol on one database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._run = connections.run

    async def open(self) -> None:
        """Look at the server, bring the schema up to date, open the pool."""
        await self._connections.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def ping(self) -> None:
        """Write a fact: a full disk or a standby shows."""
        await self._run(
            "INSERT INTO authserver.facts (name, value)"
            " VALUES ('ping', convert_to(clock_timestamp()::text, 'UTF8'))"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            repeatable=True,
        )

    async def now(self) -> float:
        """Return the time of the database."""
        [row] = await self._run(
            "SELECT extract(epoch FROM clock_timestamp())::float8 AS now", repeatable=True
        )
        now: float = row["now"]
        return now

    async def recall(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        rows = await self._run("SELECT value FROM authserver.facts WHERE name = $1", name, repeatable=True)
        return rows[0]["value"] if rows else None

    async def remember(self, name: str, value: bytes) -> bytes:
        """Store `value` unless there is one; return the stored one."""
        [row] = await self._run(
            "INSERT INTO authserver.facts AS stored (name, value) VALUES ($1, $2)"
            " ON CONFLICT (name) DO UPDATE SET value = stored.value RETURNING value",
            name,
            value,
            repeatable=True,
        )
        stored: bytes = row["value"]
        return stored

    async def list_facts(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored under names that begin so."""
        rows = await self._run(
            "SELECT name, value FROM authserver.facts WHERE starts_with(name, $1)", prefix, repeatable=True
        )
        return {row["name"]: row["value"] for row in rows}

    async def forget(self, name: str) -> bool:
        """Delete what is stored under `name`."""
        return bool(await self._run("DELETE FROM authserver.facts WHERE name = $1 RETURNING true", name))

    # clients

    async def add_client(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        """Store a client, making room among the unused ones where it must."""
        return await self._said(
            "SELECT authserver.add_client($1, $2, $3, $4, $5, $6, $7, $8)",
            client.client_id,
            json.dumps(client.metadata),
            client.secret_digest,
            client.address,
            client.approved_at is not None,
            client.completed_at is not None,
            unused_limit,
            unused_age_seconds,
            repeatable=True,
        )

    async def _said(self, statement: str, *values: object, repeatable: bool = False) -> bool:
        """Return what the function that `statement` calls says."""
        [[said]] = await self._run(statement, *values, repeatable=repeatable)
        return bool(said)

    async def get_client(self, client_id: str) -> Client | None:
        """Return the client."""
        rows = await self._run(
            f"{CLIENT} FROM authserver.clients WHERE client_id = $1", client_id, repeatable=True
        )
        return client_of(rows[0]) if rows else None

    async def list_clients(self) -> list[Client]:
        """Return all clients, oldest first."""
        rows = await self._run(f"{CLIENT} FROM authserver.clients ORDER BY created_at", repeatable=True)
        return [client_of(row) for row in rows]

    async def approve_client(self, client_id: str) -> bool:
        """Let a waiting client be used."""
        rows = await self._run(
            "UPDATE authserver.clients SET approved_at = coalesce(approved_at, authserver.now())"
            " WHERE client_id = $1 RETURNING true",
            client_id,
            repeatable=True,
        )
        return bool(rows)

    async def remove_client(self, client_id: str) -> bool:
        """Remove a client; what hangs off it goes with it."""
        return await self._said("SELECT authserver.remove_client($1)", client_id)

    # users

    async def get_user(self, name: str) -> User | None:
        """Return the user of that name."""
        rows = await self._run(
            f"{USER} FROM authserver.users WHERE folded_name = $1", _fold(name), repeatable=True
        )
        return first(User, rows)

    async def get_user_by_subject(self, subject: str) -> User | None:
        """Return the user with that subject."""
        rows = await self._run(f"{USER} FROM authserver.users WHERE subject = $1", subject, repeatable=True)
        return first(User, rows)

    async def list_users(self) -> list[User]:
        """Return all users, oldest first."""
        rows = await self._run(f"{USER} FROM authserver.users ORDER BY created_at", repeatable=True)
        return [record(User, row) for row in rows]

    async def add_user(self, name: str, *, scopes: Sequence[str] | None) -> User:
        """Return the user of that name, making one where there is none."""
        rows = await self._run(
            "INSERT INTO authserver.users AS stored (subject, folded_name, name, scopes, created_at)"
            " VALUES ($1, $2, $3, $4, authserver.now())"
            " ON CONFLICT (folded_name) DO UPDATE SET name = stored.name"
            " RETURNING subject, name, scopes, created_at, disabled_at, disabled_by",
            str(uuid.uuid4()),
            _fold(name),
            name,
            text(scopes),
            repeatable=True,
        )
        return record(User, rows[0])

    async def rename_user(self, name: str, new_name: str) -> bool:
        """Call a user otherwise, unless another one has the name."""
        return await self._said(
            "SELECT authserver.rename_user($1, $2, $3)", _fold(name), new_name, _fold(new_name)
        )

    async def set_user_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        """Set what the user may grant."""
        rows = await self._run(
            "UPDATE authserver.users SET scopes = $2 WHERE folded_name = $1 RETURNING true",
            _fold(name),
            text(scopes),
            repeatable=True,
        )
        return bool(rows)

    async def disable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Disable a user, end their sessions, revoke their grants."""
        return await self._said(
            "SELECT authserver.disable_user($1, $2, $3)", _fold(name), by, by == OPERATOR, repeatable=True
        )

    async def enable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Let a disabled user sign in again."""
        rows = await self._run(
            "UPDATE authserver.users SET disabled_at = NULL, disabled_by = NULL"
            " WHERE folded_name = $1 AND ($3 OR disabled_by = $2) RETURNING true",
            _fold(name),
            by,
            by == OPERATOR,
            repeatable=by == OPERATOR,
        )
        return bool(rows)

    async def delete_user(self, name: str) -> bool:
        """Delete a user; what hangs off them goes with them."""
        return await self._said("SELECT authserver.delete_user($1)", _fold(name))

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        """Store a one-time link in place of an older one."""
        return await self._said(
            "SELECT authserver.add_invitation($1, $2, $3, $4, $5, $6)",
            digest,
            str(uuid.uuid4()),
            None if name is None else _fold(name),
            name,
            text(scopes),
            lifetime_seconds,
            repeatable=True,
        )

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        """Return what the link is good for."""
        rows = await self._run(
            "SELECT i.name, coalesce(u.subject, i.subject) AS subject"
            " FROM authserver.invitations AS i LEFT JOIN authserver.users AS u USING (folded_name)"
            " WHERE i.digest = $1 AND i.expires_at > authserver.now()"
            " AND (i.name IS NOT NULL OR NOT EXISTS (SELECT FROM authserver.users))",
            digest,
            repeatable=True,
        )
        return first(Invitation, rows)

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None
    ) -> User | None:
        """Consume the link, create or recover the account, set its credential."""
        rows = await self._run(
            f"{USER} FROM authserver.claim_invitation($1, $2, $3, $4, $5)",
            digest,
            _fold(name),
            name,
            *(credential or (None, None)),
        )
        return first(User, rows)

    # what logins need

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        """Return the user's credential of that kind."""
        rows = await self._run(
            "SELECT value, counter FROM authserver.credentials WHERE subject = $1 AND kind = $2",
            subject,
            kind,
            repeatable=True,
        )
        return first(Credential, rows)

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        """Replace the credential if nobody else did since it was read."""
        first = (
            "INSERT INTO authserver.credentials (subject, kind, value, counter)"
            " SELECT subject, $2, $3, $4 + 1 FROM authserver.users WHERE subject = $1 FOR KEY SHARE"
            " ON CONFLICT DO NOTHING RETURNING true"
        )
        later = (
            "UPDATE authserver.credentials SET value = $3, counter = counter + 1"
            " WHERE subject = $1 AND kind = $2 AND counter = $4 RETURNING true"
        )
        return bool(await self._run(first if counter == 0 else later, subject, kind, value, counter))

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        """Return all credentials of the user."""
        rows = await self._run(
            "SELECT kind, value, counter FROM authserver.credentials WHERE subject = $1 ORDER BY kind",
            subject,
            repeatable=True,
        )
        return {row["kind"]: Credential(value=row["value"], counter=row["counter"]) for row in rows}

    async def delete_credential(self, subject: str, kind: str, *, beside: str | None = None) -> bool:
        """Delete the user's credential of that kind."""
        return await self._said("SELECT authserver.delete_credential($1, $2, $3)", subject, kind, beside)

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        """Store something that can be taken once."""
        await self._run(
            "INSERT INTO authserver.tickets VALUES ($1, $2, authserver.now() + $3)",
            digest,
            value,
            lifetime_seconds,
        )

    async def take_ticket(self, digest: bytes) -> bytes | None:
        """Consume a ticket."""
        rows = await self._run(
            "DELETE FROM authserver.tickets WHERE digest = $1 AND expires_at > authserver.now()"
            " RETURNING value",
            digest,
        )
        return rows[0]["value"] if rows else None

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        """Count an attempt in all buckets, or in none (generic cell rate algorithm)."""
        [[wait]] = await self._run(
            "SELECT authserver.take_attempt($1, $2, $3)",
            [bucket.key for bucket in buckets],
            [bucket.burst for bucket in buckets],
            [bucket.interval_seconds for bucket in buckets],
        )
        return float(wait)

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        """Take back one attempt from each bucket."""
        await self._run(
            "SELECT authserver.return_attempt($1, $2)",
            [bucket.key for bucket in buckets],
            [bucket.interval_seconds for bucket in buckets],
        )

    async def add_session(self, digest: bytes, subject: str, *, device: str, lifetime_seconds: float) -> None:
        """Store a session."""
        await self._run(
            "INSERT INTO authserver.sessions (digest, subject, device, created_at, expires_at)"
            " SELECT $1, subject, $3, authserver.now(), authserver.now() + $4 FROM authserver.users"
            " WHERE subject = $2 AND disabled_at IS NULL FOR SHARE"
            " ON CONFLICT DO NOTHING",
            digest,
            subject,
            device,
            lifetime_seconds,
            repeatable=True,
        )

    async def get_session(self, digest: bytes) -> Session | None:
        """Return the session if it and its user are alive."""
        return first(Session, await self._run(f"{SESSIONS} AND s.digest = $1", digest, repeatable=True))

    async def end_session(self, digest: bytes) -> None:
        """End the session."""
        await self._run("DELETE FROM authserver.sessions WHERE digest = $1", digest, repeatable=True)

    async def list_sessions(self, subject: str) -> list[Session]:
        """Return the living sessions of the user, oldest first."""
        rows = await self._run(
            f"{SESSIONS} AND s.subject = $1 ORDER BY s.created_at", subject, repeatable=True
        )
        return [record(Session, row) for row in rows]

    async def end_sessions(self, subject: str, *, keep: bytes | None = None) -> None:
        """End all sessions of the user, but one."""
        await self._run(
            "DELETE FROM authserver.sessions WHERE subject = $1 AND digest IS DISTINCT FROM $2",
            subject,
            keep,
            repeatable=True,
        )

    # authorization requests, grants, tokens

    async def add_authorization_request(
        self,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        """Store a request unless its address has too many waiting."""
        return await self._said(
            "SELECT authserver.add_authorization_request($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            digest,
            request.client_id,
            request.redirect_uri,
            request.redirect_uri_explicit,
            request.state,
            " ".join(request.scopes),
            request.code_challenge,
            request.resource,
            request.address,
            lifetime_seconds,
            limit,
        )

    async def get_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Return the request, without consuming it."""
        rows = await self._run(
            f"{AUTHORIZATION_REQUEST} FROM authserver.authorization_requests"
            " WHERE digest = $1 AND expires_at > authserver.now()",
            digest,
            repeatable=True,
        )
        return first(AuthorizationRequest, rows)

    async def take_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Consume the request."""
        rows = await self._run(
            "WITH taken AS (DELETE FROM authserver.authorization_requests"  # noqa: S608
            " WHERE digest = $1 AND expires_at > authserver.now() RETURNING *)"
            f" {AUTHORIZATION_REQUEST} FROM taken",
            digest,
        )
        return first(AuthorizationRequest, rows)

    async def create_grant(
        self,
        request: bytes,
        *,
        subject: str,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        """Consume the request, store the grant and its code."""
        rows = await self._run(
            f"{AUTHORIZATION_REQUEST} FROM authserver.create_grant($1, $2, $3, $4, $5, $6, $7, $8)",
            request,
            str(uuid.uuid4()),
            subject,
            " ".join(scopes),
            grant_seconds,
            code,
            code_seconds,
            remember_seconds,
        )
        return first(AuthorizationRequest, rows)

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        """Say whether the user allowed this before and let it be remembered."""
        rows = await self._run(
            "SELECT scopes FROM authserver.living_grants WHERE subject = $1 AND client_id = $2"
            " AND redirect_uri = $3 AND resource = $4"
            " AND expires_at > authserver.now() AND remembered_until > authserver.now()",
            subject,
            request.client_id,
            request.redirect_uri,
            request.resource,
            repeatable=True,
        )
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in rows)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        """Return the code, spent or not, until its original expiry."""
        rows = await self._run(
            "SELECT c.grant_id, g.client_id, g.subject, g.scopes, g.resource, g.redirect_uri,"
            " c.redirect_uri_explicit, c.code_challenge, c.expires_at"
            " FROM authserver.codes AS c JOIN authserver.grants AS g USING (grant_id)"
            " WHERE c.digest = $1 AND c.expires_at > authserver.now()",
            digest,
            repeatable=True,
        )
        return first(AuthorizationCode, rows)

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        """Spend the code and store the tokens, or revoke the grant of a spent one."""
        rows = await self._run(
            "SELECT * FROM authserver.redeem_code($1, $2, $3, $4, $5, $6)",
            digest,
            attempt,
            tokens.access,
            tokens.refresh,
            lifetimes.access_token_seconds,
            lifetimes.refresh_token_seconds,
            repeatable=True,
        )
        if not rows:
            return Gone()
        [row] = rows
        if row["verdict"] == "replayed":
            return Replayed(grant_id=row["grant_id"], subject=row["subject"])
        return Redeemed(issued(row))

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """Return the refresh token, spent or not, until its original expiry."""
        rows = await self._run(
            "SELECT r.grant_id, g.client_id, g.subject, g.scopes, u.scopes AS entitlement, g.resource,"
            " r.expires_at FROM authserver.refresh_tokens AS r JOIN authserver.grants AS g USING (grant_id)"
            " JOIN authserver.users AS u USING (subject)"
            " WHERE r.digest = $1 AND r.expires_at > authserver.now()",
            digest,
            repeatable=True,
        )
        return first(RefreshToken, rows)

    async def rotate_refresh_token(
        self,
        digest: bytes,
        *,
        scopes: Sequence[str],
        salt: bytes,
        replay_seconds: float,
        tokens: NewTokens,
        lifetimes: Lifetimes,
    ) -> Rotated | Reused | Gone:
        """Spend the refresh token and store its successors, or judge a spent one."""
        rows = await self._run(
            "SELECT * FROM authserver.rotate_refresh_token($1, $2, $3, $4, $5, $6, $7, $8)",
            digest,
            " ".join(scopes),
            salt,
            replay_seconds,
            tokens.access,
            tokens.refresh,
            lifetimes.access_token_seconds,
            lifetimes.refresh_token_seconds,
            repeatable=True,
        )
        if not rows:
            return Gone()
        [row] = rows
        if row["verdict"] == "reused":
            return Reused(grant_id=row["grant_id"], subject=row["subject"])
        return Rotated(issued(row), row["salt"], repeated=row["verdict"] == "repeated")

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        """Store one more access token of a grant."""
        await self._run(
            "INSERT INTO authserver.access_tokens (digest, grant_id, scopes, expires_at)"
            " SELECT $1, grant_id, $3, $4 FROM authserver.grants WHERE grant_id = $2 FOR KEY SHARE"
            " ON CONFLICT DO NOTHING",
            digest,
            grant_id,
            " ".join(scopes),
            expires_at,
            repeatable=True,
        )

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        """Return the access token if all that it hangs off is alive."""
        rows = await self._run(
            "SELECT a.grant_id, g.client_id, g.subject, g.user_name, a.scopes, g.entitlement, g.resource,"
            " a.expires_at"
            " FROM authserver.access_tokens AS a JOIN authserver.living_grants AS g USING (grant_id)"
            " WHERE a.digest = $1 AND a.expires_at > authserver.now() AND g.expires_at > authserver.now()",
            digest,
            repeatable=True,
        )
        return first(AccessToken, rows)

    async def list_grants(self, subject: str | None = None) -> list[Grant]:
        """Return all grants that are alive, or those of a user, oldest first."""
        rows = await self._run(
            "SELECT grant_id, client_id, subject, user_name, scopes, resource, redirect_uri, created_at,"
            " used_at, expires_at, revoked_at FROM authserver.living_grants"
            " WHERE expires_at > authserver.now() AND subject = coalesce($1, subject) ORDER BY created_at",
            subject,
            repeatable=True,
        )
        return [record(Grant, row) for row in rows]

    async def revoke_grant(self, grant_id: str) -> bool:
        """Revoke a grant with all its tokens."""
        return await self._said("SELECT authserver.revoke_grant($1)", grant_id)

    async def list_revocations(self, within_seconds: float | None) -> list[Revocation]:
        """Return the grants that ended before their access tokens did."""
        rows = await self._run(
            "SELECT grant_id, until FROM authserver.revocations WHERE until > authserver.now()"
            " AND revoked_at >= authserver.now() - coalesce($1, 'Infinity'::double precision)",
            within_seconds,
            repeatable=True,
        )
        return [record(Revocation, row) for row in rows]

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Delete up to about `limit` expired records of each sort, one transaction a sort."""
        rows = [*await self._run(PURGE_SALTS, limit, replay_seconds)]
        for statement in PURGE:
            rows += await self._run(statement, limit)
        rows += await self._run(
            "SELECT authserver.purge_clients($1, $2, $3)", limit, unused_seconds, idle_seconds
        )
        return sum(count for [count] in rows)

    # backup

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables in one transaction, some hundred rows at a time."""
        async with self._connections.own() as connection:
            with translated():
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for table, columns in TABLES.items():
                with translated():
                    await connection.execute(f"DECLARE {table} CURSOR FOR {DUMP[table]}")
                while True:
                    with translated():
                        rows = await connection.fetch(f"FETCH {_BATCH} FROM {table}")
                    for row in rows:
                        yield table, {name: row[name] for name in columns}
                    if len(rows) < _BATCH:
                        break

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records in one transaction, on a connection of its own, while nobody else writes."""
        async with self._connections.own() as connection:
            with translated():
                await connection.execute("BEGIN")
                await connection.execute(
                    "LOCK TABLE authserver.clients, authserver.users IN SHARE ROW EXCLUSIVE MODE"
                )
                if await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM authserver.clients) OR EXISTS (SELECT FROM authserver.users)"
                ):
                    raise NotEmpty
            batch: list[Row] = []
            table = ""
            async for name, row in records:
                if batch and (name != table or len(batch) == _BATCH):
                    await _store(connection, table, batch)
                    batch = []
                table = name
                batch.append(row)
            await _store(connection, table, batch)
            with translated():
                await connection.execute("COMMIT")


async def _store(connection: Connection, table: str, rows: list[Row]) -> None:
    if rows:
        with translated():
            await connection.executemany(
                FILL[table], [[row.get(name) for name in TABLES[table]] for row in rows]
            )
