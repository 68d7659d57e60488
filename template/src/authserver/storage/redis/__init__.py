"""Storage in Redis or Valkey, for several nodes: each operation is one script, which the server runs whole.

The scripts say what is kept and how it is found (`scripts/helpers`), `server.py` how they are reached.
"""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

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
    StorageUnavailable,
)
from authserver.storage.redis import rows
from authserver.storage.redis.address import Address, parse_address
from authserver.storage.redis.doctor import checks
from authserver.storage.redis.server import Server, check_server
from authserver.storage.redis.values import Argument, decode

__all__ = ["Settings", "checks", "create"]

_SCHEMA = 1
_LEASE_MILLISECONDS = 60_000
_BATCH = 200
_ENDING = (
    "access_tokens",
    "refresh_tokens",
    "codes",
    "authorization_requests",
    "sessions",
    "tickets",
    "invitations",
    "buckets",
    "grants",
    "revocations",
)


class Settings(CoreSettings):
    """Where the server is, and how safe what it keeps must be."""

    storage_url: SecretStr = Field(default=..., examples=["redis://127.0.0.1:6379/0"])
    """Redis 6.2 or newer, or Valkey; no cluster. Special characters of the password are percent-encoded.
    rediss://NAME:PASSWORD@HOST:PORT/0 for TLS, unix:///run/redis.sock?db=0 for a socket; options:
    prefix=NAME: where several projects share a database, ssl_ca_certs=FILE and redis-py's other ssl_ ones.
    """

    storage_durability: Literal["demand", "accept-loss"] = Field(default="demand", examples=["demand"])
    """Whether the server must lose nothing it has answered (appendonly yes, appendfsync always): demand, or
    accept-loss, after which a crash may end logins and bring back what was revoked.
    """

    storage_replicas: int = Field(default=0, ge=0, examples=["1"])
    """How many replicas must have each change before it is answered. Without, a failover may lose some."""

    @field_validator("storage_url")
    @classmethod
    def _storage_url(cls, value: SecretStr) -> SecretStr:
        parse_address(value.get_secret_value())
        return value


def create(settings: Settings) -> "RedisStorage":
    """Return the storage for these settings; nothing is opened yet."""
    return RedisStorage(
        parse_address(settings.storage_url.get_secret_value()),
        durable=settings.storage_durability == "demand",
        replicas=settings.storage_replicas,
    )


def _fold(name: str | None) -> str | None:
    return None if name is None else name.casefold()


def _tokens(tokens: NewTokens) -> dict[str, Argument]:
    return {"access": tokens.access, "refresh": tokens.refresh}


def _lifetimes(lifetimes: Lifetimes) -> dict[str, Argument]:
    return {
        "access_token_seconds": lifetimes.access_token_seconds,
        "refresh_token_seconds": lifetimes.refresh_token_seconds,
    }


class RedisStorage:
    """The Storage protocol on a Redis server."""

    def __init__(self, address: Address, *, durable: bool, replicas: int) -> None:
        self._address = address
        self._durable = durable
        self._replicas = replicas
        self._server: Server | None = None

    async def open(self) -> None:
        """Connect, refuse a server that would lose records, bring the schema up to date.

        Raises SettingsError where the server cannot keep the store as the settings demand.
        """
        self._server = Server(self._address, self._replicas)
        try:
            await check_server(self._server, durable=self._durable)
            await self._prepare()
        except BaseException:
            await self.close()
            raise

    async def _prepare(self) -> None:
        token = uuid.uuid4().hex
        state = (await self._run("open", _SCHEMA, token, _LEASE_MILLISECONDS)).decode()
        if state == "filling":
            raise StorageUnavailable("a restore is running, the storage is not to be used yet")
        if state == "torn":
            await self._undo_fill(token)
        elif state != "ready":
            raise StorageUnavailable(
                f"the database has {state}, this release knows {_SCHEMA}:"
                " run the newer release, or restore the backup that was made before the update"
            )

    async def close(self) -> None:
        """Let go of the connections."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def _connected(self) -> Server:
        if self._server is None:
            raise StorageUnavailable("the storage is not open")
        return self._server

    async def _run(self, script: str, *arguments: Argument, again: bool = False) -> Any:
        return await self._connected().run(script, *arguments, again=again)

    async def _row(self, script: str, *arguments: Argument, again: bool = False) -> dict[str, Any] | None:
        flat = await self._run(script, *arguments, again=again)
        return decode(flat) if flat else None

    async def _rows(self, script: str, *arguments: Argument) -> list[dict[str, Any]]:
        return [decode(flat) for flat in await self._run(script, *arguments)]

    async def ping(self) -> None:
        """Write, also while a backup runs: it is the server that is asked."""
        await self._connected().command(b"SET", "ping", b"1", writes=True)

    async def now(self) -> float:
        """Return the time of the server."""
        return await self._connected().time()

    async def recall(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        value: bytes | None = await self._connected().command(b"HGET", f"facts/{name}", b"value")
        return value

    async def remember(self, name: str, value: bytes) -> bytes:
        """Store `value` unless there is one; return the stored one, also while a backup runs."""
        stored = await self.recall(name)
        return stored or bytes(await self._run("remember", {"name": name, "value": value}, again=True))

    async def list_facts(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored under names that begin so."""
        return {row["name"]: row["value"] for row in await self._rows("list_facts", prefix)}

    async def forget(self, name: str) -> bool:
        """Delete what is stored under `name`."""
        return bool(await self._run("forget", name))

    # clients

    async def add_client(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        """Store a client, making room among the unused ones where it must."""
        row: dict[str, Argument] = {
            "client_id": client.client_id,
            "metadata": json.dumps(client.metadata),
            "secret_digest": client.secret_digest,
            "address": client.address,
            "created_at": client.created_at,
            "approved_at": client.approved_at,
            "completed_at": client.completed_at,
        }
        return bool(await self._run("add_client", row, unused_limit, unused_age_seconds, again=True))

    async def get_client(self, client_id: str) -> Client | None:
        """Return the client."""
        flat = await self._connected().command(b"HGETALL", f"clients/{client_id}")
        return rows.client(decode(flat)) if flat else None

    async def list_clients(self) -> list[Client]:
        """Return all clients, oldest first."""
        return [rows.client(row) for row in await self._rows("list", "clients")]

    async def approve_client(self, client_id: str) -> bool:
        """Let a waiting client be used."""
        return bool(await self._run("approve_client", client_id, again=True))

    async def remove_client(self, client_id: str) -> bool:
        """Remove a client with its grants; its tokens open nothing any more."""
        return bool(await self._run("remove_client", client_id))

    # users

    async def get_user(self, name: str) -> User | None:
        """Return the user of that name."""
        row = await self._row("get_user", _fold(name))
        return None if row is None else rows.user(row)

    async def get_user_by_subject(self, subject: str) -> User | None:
        """Return the user with that subject."""
        flat = await self._connected().command(b"HGETALL", f"users/{subject}")
        return rows.user(decode(flat)) if flat else None

    async def list_users(self) -> list[User]:
        """Return all users, oldest first."""
        return [rows.user(row) for row in await self._rows("list", "users")]

    async def add_user(self, name: str, *, scopes: Sequence[str] | None) -> User:
        """Return the user of that name, making one where there is none."""
        row: dict[str, Argument] = {
            "subject": str(uuid.uuid4()),
            "folded_name": _fold(name),
            "name": name,
            "scopes": rows.text(scopes),
        }
        return rows.user(decode(await self._run("add_user", row, again=True)))

    async def rename_user(self, name: str, new_name: str) -> bool:
        """Call a user otherwise, unless another one has the name."""
        row = {"name": new_name, "folded_name": _fold(new_name)}
        return bool(await self._run("rename_user", _fold(name), row))

    async def set_user_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        """Set what the user may grant."""
        return bool(await self._run("set_user_scopes", _fold(name), {"scopes": rows.text(scopes)}))

    async def disable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Disable a user, end their sessions, revoke their grants."""
        who = {"by": by, "over_others": by == OPERATOR}
        return bool(await self._run("disable_user", _fold(name), who, again=True))

    async def enable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Let a disabled user sign in again."""
        who = {"by": by, "over_others": by == OPERATOR}
        return bool(await self._run("enable_user", _fold(name), who))

    async def delete_user(self, name: str) -> bool:
        """Delete a user with all that is theirs."""
        return bool(await self._run("delete_user", _fold(name)))

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        """Store a one-time link in place of an older one."""
        row: dict[str, Argument] = {
            "digest": digest,
            "subject": str(uuid.uuid4()),
            "folded_name": _fold(name),
            "name": name,
            "scopes": rows.text(scopes),
        }
        return bool(await self._run("add_invitation", row, lifetime_seconds))

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        """Return what the link is good for."""
        row = await self._row("get_invitation", digest)
        return None if row is None else Invitation(name=row.get("name"), subject=row["subject"])

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None
    ) -> User | None:
        """Consume the link, create or recover the account, set its credential."""
        kind, value = credential or (None, None)
        row = await self._row(
            "claim_invitation",
            digest,
            {"folded_name": _fold(name), "name": name},
            {"kind": kind, "value": value},
        )
        return None if row is None else rows.user(row)

    # what logins need

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        """Return the user's credential of that kind."""
        flat = await self._connected().command(b"HGETALL", f"credentials/{subject}/{kind}")
        return rows.credential(decode(flat)) if flat else None

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        """Replace the credential if nobody else did since it was read."""
        row: dict[str, Argument] = {"subject": subject, "kind": kind, "value": value}
        return bool(await self._run("put_credential", row, counter))

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        """Return all credentials of the user."""
        return {row["kind"]: rows.credential(row) for row in await self._rows("list_credentials", subject)}

    async def delete_credential(self, subject: str, kind: str, *, beside: str | None = None) -> bool:
        """Delete the user's credential of that kind."""
        row = {"subject": subject, "kind": kind}
        return bool(await self._run("delete_credential", row, beside or ""))

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        """Store something that can be taken once."""
        await self._run("add_ticket", {"digest": digest, "value": value}, lifetime_seconds)

    async def take_ticket(self, digest: bytes) -> bytes | None:
        """Consume a ticket."""
        value: bytes | None = await self._run("take_ticket", digest)
        return value

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        """Count an attempt in all buckets, or in none."""
        return float(
            await self._run(
                "take_attempt",
                len(buckets),
                *(part for one in buckets for part in (one.key, one.burst, one.interval_seconds)),
            )
        )

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        """Take back one attempt from each bucket."""
        await self._run(
            "return_attempt",
            len(buckets),
            *(part for one in buckets for part in (one.key, one.interval_seconds)),
        )

    async def add_session(self, digest: bytes, subject: str, *, device: str, lifetime_seconds: float) -> None:
        """Store a session."""
        row: dict[str, Argument] = {"digest": digest, "subject": subject, "device": device}
        await self._run("add_session", row, lifetime_seconds, again=True)

    async def get_session(self, digest: bytes) -> Session | None:
        """Return the session if it and its user are alive."""
        row = await self._row("get_session", digest)
        return None if row is None else rows.session(row)

    async def end_session(self, digest: bytes) -> None:
        """End the session."""
        await self._run("end_session", digest, again=True)

    async def list_sessions(self, subject: str) -> list[Session]:
        """Return the living sessions of the user, oldest first."""
        found = await self._rows("list_sessions", subject)
        return sorted(map(rows.session, found), key=lambda session: session.created_at)

    async def end_sessions(self, subject: str, *, keep: bytes | None = None) -> None:
        """End all sessions of the user, but one."""
        await self._run("end_sessions", subject, keep, again=True)

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
        row: dict[str, Argument] = {
            "digest": digest,
            "client_id": request.client_id,
            "redirect_uri": request.redirect_uri,
            "redirect_uri_explicit": request.redirect_uri_explicit,
            "state": request.state,
            "scopes": rows.text(request.scopes),
            "code_challenge": request.code_challenge,
            "resource": request.resource,
            "address": request.address,
        }
        return bool(await self._run("add_authorization_request", row, lifetime_seconds, limit, again=True))

    async def get_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Return the request, without consuming it."""
        row = await self._row("get_authorization_request", digest)
        return None if row is None else rows.authorization_request(row)

    async def take_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Consume the request."""
        row = await self._row("take_authorization_request", digest)
        return None if row is None else rows.authorization_request(row)

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
        grant: dict[str, Argument] = {
            "grant_id": str(uuid.uuid4()),
            "subject": subject,
            "scopes": rows.text(scopes),
        }
        row = await self._row(
            "create_grant", request, grant, {"digest": code}, grant_seconds, code_seconds, remember_seconds
        )
        return None if row is None else rows.authorization_request(row)

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        """Say whether the user allowed this before and let it be remembered."""
        wanted: dict[str, Argument] = {
            "client_id": request.client_id,
            "redirect_uri": request.redirect_uri,
            "resource": request.resource,
        }
        found = await self._rows("recall_consent", subject, wanted)
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in found)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        """Return the code, spent or not, until its original expiry."""
        row = await self._row("get_code", digest)
        return None if row is None else rows.code(row)

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        """Spend the code and store the tokens, or revoke the grant of a spent one."""
        row = await self._row(
            "redeem_code", digest, attempt, _tokens(tokens), _lifetimes(lifetimes), again=True
        )
        if row is None:
            return Gone()
        if row["verdict"] == "replayed":
            return Replayed(grant_id=row["grant_id"], subject=row["subject"])
        return Redeemed(rows.issued(row))

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """Return the refresh token, spent or not, until its original expiry."""
        row = await self._row("get_refresh_token", digest)
        return None if row is None else rows.refresh_token(row)

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
        row = await self._row(
            "rotate_refresh_token",
            digest,
            rows.text(scopes),
            salt,
            replay_seconds,
            _tokens(tokens),
            _lifetimes(lifetimes),
            again=True,
        )
        if row is None:
            return Gone()
        if row["verdict"] == "reused":
            return Reused(grant_id=row["grant_id"], subject=row["subject"])
        return Rotated(rows.issued(row), row["salt"], repeated=row["salt"] != salt)

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        """Store one more access token of a grant."""
        row: dict[str, Argument] = {
            "digest": digest,
            "grant_id": grant_id,
            "scopes": rows.text(scopes),
            "expires_at": expires_at,
        }
        await self._run("add_access_token", row, again=True)

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        """Return the access token if all that it hangs off is alive."""
        row = await self._row("get_access_token", digest)
        return None if row is None else rows.access_token(row)

    async def list_grants(self, subject: str | None = None) -> list[Grant]:
        """Return all grants that are alive, or those of a user, oldest first."""
        found = await self._rows("list_grants", subject)
        return sorted(map(rows.grant, found), key=lambda grant: grant.created_at)

    async def revoke_grant(self, grant_id: str) -> bool:
        """Revoke a grant with all its tokens."""
        return bool(await self._run("revoke_grant", grant_id))

    async def list_revocations(self, within_seconds: float | None) -> list[Revocation]:
        """Return the grants that ended before their access tokens did."""
        found = await self._rows("list_revocations", within_seconds)
        return [Revocation(grant_id=row["grant_id"], until=row["until"]) for row in found]

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Delete up to about `limit` expired records of each sort, one script a sort."""
        deleted = [await self._run("purge_expired", table, limit) for table in _ENDING]
        deleted.append(await self._run("purge_salts", limit, replay_seconds))
        deleted.append(await self._run("purge_clients", "purgeable", limit, unused_seconds))
        if idle_seconds is not None:
            deleted.append(await self._run("purge_clients", "used", limit, idle_seconds))
        return sum(deleted)

    # backup

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables while nobody writes: whoever dies over it keeps the others from it for a minute."""
        token = uuid.uuid4().hex
        if not await self._run("begin_dump", token, _LEASE_MILLISECONDS):
            raise StorageUnavailable("another backup or a restore is running")
        try:
            for table, columns in TABLES.items():
                first = 0
                while True:
                    batch = await self._run("dump", token, _LEASE_MILLISECONDS, table, first, _BATCH)
                    if batch is None:
                        raise StorageUnavailable("the backup took too long over a batch, and writing went on")
                    seen, found = batch
                    for row in map(decode, found):
                        yield table, {name: row.get(name) for name in columns}
                    if seen < _BATCH:
                        break
                    first += seen
        finally:
            with contextlib.suppress(StorageUnavailable):  # then it ends by itself
                await self._run("end_dump", token, again=True)

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records while nobody else does; undo them if one fails."""
        token = uuid.uuid4().hex
        state = await self._run("begin_fill", token, _LEASE_MILLISECONDS)
        if state == b"not empty":
            raise NotEmpty
        if state != b"ready":
            raise StorageUnavailable("a backup or another restore is running")
        facts: list[Row] = []
        batch: list[tuple[str, Row]] = []
        try:
            async for table, row in records:
                if table == "facts":
                    facts.append(row)
                    continue
                batch.append((table, row))
                if len(batch) == _BATCH:
                    await self._fill(token, batch)
                    batch = []
            await self._fill(token, batch)
            if not await self._run("end_fill", token, facts, again=True):
                raise StorageUnavailable("the restore took too long, and was undone")
        except BaseException:
            await self._undo_fill(token)
            raise

    async def _fill(self, token: str, batch: list[tuple[str, Row]]) -> None:
        flat = [part for entry in batch for part in entry]
        if not await self._run("fill", token, _LEASE_MILLISECONDS, len(batch), *flat):
            raise StorageUnavailable("the restore took too long, and was undone")

    async def _undo_fill(self, token: str) -> None:
        while await self._run("undo_fill", token, _LEASE_MILLISECONDS, _BATCH):
            pass
        await self._run("end_fill", token, [], again=True)
