"""Storage in one SQLite file, for one node: any number of processes of one machine.

Writes go through the writer thread (`writer.py`); reads run where they are asked, on a connection of their
own: a read takes microseconds and no lock, since the database is in WAL mode.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

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
from authserver.settings import CoreSettings, SettingsError
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
from authserver.storage.sqlite import rows
from authserver.storage.sqlite.doctor import checks
from authserver.storage.sqlite.lock import FileLock
from authserver.storage.sqlite.place import file_system
from authserver.storage.sqlite.rows import SESSIONS
from authserver.storage.sqlite.schema import migrate
from authserver.storage.sqlite.upkeep import DUMP, FILL, PURGE, neutral
from authserver.storage.sqlite.writer import Writer, connect

__all__ = ["Settings", "checks", "create"]

T = TypeVar("T")

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.sshfs"}


class Settings(CoreSettings):
    """The folder that holds the database and, where none is set, the secret key."""

    data_dir: Path = Field(default=Path("data"), examples=["/var/lib/my-server"])
    """Where the server keeps its data: on a local disk, in a folder that only its user can read.
    Where no secret key is set, the first start makes one in this folder.
    """

    @property
    def made_key_path(self) -> Path:
        """The key lies beside the database."""
        return self.data_dir / "secret.key"


def create(settings: Settings) -> "SQLiteStorage":
    """Return the storage for these settings; nothing is opened yet.

    Raises SettingsError where SQLite is too old or the data folder lies on a network file system.
    """
    if sqlite3.sqlite_version_info < (3, 35):
        raise SettingsError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"AUTH_DATA_DIR: {settings.data_dir} cannot be made ({error.strerror})."
            " Example: AUTH_DATA_DIR=/var/lib/my-server"
        ) from None
    kind = file_system(settings.data_dir.resolve())
    if kind in _NETWORK_FILE_SYSTEMS:
        raise SettingsError(
            f"AUTH_DATA_DIR: {settings.data_dir} lies on a network file system ({kind}), where SQLite's locks"
            " do not hold. Example: AUTH_DATA_DIR=/var/lib/my-server"
        )
    return SQLiteStorage(settings.data_dir / "authserver.sqlite")


def _fold(name: str) -> str:
    return name.casefold()


class SQLiteStorage:
    """The Storage protocol on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._lock: FileLock | None = None

    async def open(self) -> None:
        """Make the file with rights for its owner only, bring the schema up to date, start the writer."""
        try:
            self._path.touch(mode=0o600)
            self._lock = FileLock(self._path.with_suffix(".lock"))
            with self._lock.held(), closing(connect(self._path)) as connection:
                migrate(connection)
            self._reader = connect(self._path)
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(f"{self._path}: {error}") from error
        self._writer = Writer(self._path, self._lock)

    async def close(self) -> None:
        """Finish queued writes, close the file."""
        if self._writer is not None:
            self._writer.close()
        if self._reader is not None:
            self._reader.close()
        if self._lock is not None:
            self._lock.close()
        self._writer = self._reader = self._lock = None

    async def _write(self, operation: Callable[[sqlite3.Connection, float], T]) -> T:
        if self._writer is None:
            raise StorageUnavailable("the storage is not open")
        answer: T = await self._writer.submit(operation)
        return answer

    def _read(self, statement: str, **values: Any) -> list[sqlite3.Row]:
        if self._reader is None:
            raise StorageUnavailable("the storage is not open")
        try:
            return self._reader.execute(statement, values | {"now": time.time()}).fetchall()
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error

    def _read_one(self, statement: str, **values: Any) -> sqlite3.Row | None:
        return next(iter(self._read(statement, **values)), None)

    async def ping(self) -> None:
        """Write nothing, but through the writer: a full or read-only disk shows."""

        def ping(db: sqlite3.Connection, now: float) -> None:
            db.execute(
                "INSERT OR REPLACE INTO facts (name, value) VALUES ('ping', ?)",
                (str(int(now)).encode(),),
            )

        await self._write(ping)

    async def now(self) -> float:
        """Return the time of this machine: there is no other clock."""
        return time.time()

    async def recall(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""
        row = self._read_one("SELECT value FROM facts WHERE name = :name", name=name)
        return None if row is None else bytes(row["value"])

    async def remember(self, name: str, value: bytes) -> bytes:
        """Store `value` unless there is one; return the stored one."""

        def remember(db: sqlite3.Connection, now: float) -> bytes:
            db.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", (name, value))
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return bytes(row["value"])

        return await self._write(remember)

    async def list_facts(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored under names that begin so."""
        found = self._read(
            "SELECT * FROM facts WHERE substr(name, 1, length(:prefix)) = :prefix", prefix=prefix
        )
        return {row["name"]: bytes(row["value"]) for row in found}

    async def forget(self, name: str) -> bool:
        """Delete what is stored under `name`."""

        def forget(db: sqlite3.Connection, now: float) -> bool:
            return db.execute("DELETE FROM facts WHERE name = ?", (name,)).rowcount > 0

        return await self._write(forget)

    # clients

    async def add_client(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        """Store a client, making room among the unused ones where it must."""

        def add(db: sqlite3.Connection, now: float) -> bool:
            if db.execute("SELECT 1 FROM clients WHERE client_id = ?", (client.client_id,)).fetchone():
                return True
            unused = db.execute("SELECT count(*) FROM clients WHERE completed_at IS NULL").fetchone()[0]
            if unused >= unused_limit:
                cursor = db.execute(
                    """
                    DELETE FROM clients WHERE client_id = (
                        SELECT client_id FROM clients
                        WHERE completed_at IS NULL AND created_at < :before AND address = (
                            SELECT address FROM clients WHERE completed_at IS NULL
                            GROUP BY address ORDER BY count(*) DESC LIMIT 1)
                        ORDER BY created_at LIMIT 1)
                    """,
                    {"before": now - unused_age_seconds},
                )
                if cursor.rowcount == 0:
                    return False
            db.execute(
                "INSERT INTO clients (client_id, metadata, secret_digest, address, created_at, approved_at,"
                " completed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    client.client_id,
                    json.dumps(client.metadata),
                    client.secret_digest,
                    client.address,
                    now,
                    None if client.approved_at is None else now,
                    None if client.completed_at is None else now,
                ),
            )
            return True

        return await self._write(add)

    async def get_client(self, client_id: str) -> Client | None:
        """Return the client."""
        row = self._read_one("SELECT * FROM clients WHERE client_id = :id", id=client_id)
        return None if row is None else rows.client(row)

    async def list_clients(self) -> list[Client]:
        """Return all clients, oldest first."""
        return [rows.client(row) for row in self._read("SELECT * FROM clients ORDER BY created_at")]

    async def approve_client(self, client_id: str) -> bool:
        """Let a waiting client be used."""

        def approve(db: sqlite3.Connection, now: float) -> bool:
            cursor = db.execute(
                "UPDATE clients SET approved_at = coalesce(approved_at, ?) WHERE client_id = ?",
                (now, client_id),
            )
            return cursor.rowcount > 0

        return await self._write(approve)

    async def remove_client(self, client_id: str) -> bool:
        """Remove a client; what hangs off it goes with it."""

        def remove(db: sqlite3.Connection, now: float) -> bool:
            _revoke(db, "client_id", client_id, now)
            cursor = db.execute("DELETE FROM clients WHERE client_id = ?", (client_id,))
            return cursor.rowcount > 0

        return await self._write(remove)

    # users

    async def get_user(self, name: str) -> User | None:
        """Return the user of that name."""
        row = self._read_one("SELECT * FROM users WHERE folded_name = :name", name=_fold(name))
        return None if row is None else rows.user(row)

    async def get_user_by_subject(self, subject: str) -> User | None:
        """Return the user with that subject."""
        row = self._read_one("SELECT * FROM users WHERE subject = :subject", subject=subject)
        return None if row is None else rows.user(row)

    async def list_users(self) -> list[User]:
        """Return all users, oldest first."""
        return [rows.user(row) for row in self._read("SELECT * FROM users ORDER BY created_at")]

    async def add_user(self, name: str, *, scopes: Sequence[str] | None) -> User:
        """Return the user of that name, making one where there is none."""

        def add(db: sqlite3.Connection, now: float) -> User:
            return _made_user(db, name, str(uuid.uuid4()), rows.text(scopes), now)

        return await self._write(add)

    async def rename_user(self, name: str, new_name: str) -> bool:
        """Call a user otherwise, unless another one has the name."""

        def rename(db: sqlite3.Connection, now: float) -> bool:
            cursor = db.execute(
                "UPDATE OR IGNORE users SET name = ?, folded_name = ? WHERE folded_name = ?",
                (new_name, _fold(new_name), _fold(name)),
            )
            return cursor.rowcount > 0

        return await self._write(rename)

    async def set_user_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        """Set what the user may grant."""

        def set_scopes(db: sqlite3.Connection, now: float) -> bool:
            cursor = db.execute(
                "UPDATE users SET scopes = ? WHERE folded_name = ?", (rows.text(scopes), _fold(name))
            )
            return cursor.rowcount > 0

        return await self._write(set_scopes)

    async def disable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Disable a user, end their sessions, revoke their grants."""

        def disable(db: sqlite3.Connection, now: float) -> bool:
            row = db.execute(
                "UPDATE users SET disabled_at = coalesce(disabled_at, :now),"
                " disabled_by = CASE :by WHEN :operator THEN :by ELSE coalesce(disabled_by, :by) END"
                " WHERE folded_name = :folded_name RETURNING subject",
                {"now": now, "by": by, "operator": OPERATOR, "folded_name": _fold(name)},
            ).fetchone()
            if row is None:
                return False
            db.execute("DELETE FROM sessions WHERE subject = ?", (row["subject"],))
            _revoke(db, "subject", row["subject"], now)
            return True

        return await self._write(disable)

    async def enable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Let a disabled user sign in again."""

        def enable(db: sqlite3.Connection, now: float) -> bool:
            cursor = db.execute(
                "UPDATE users SET disabled_at = NULL, disabled_by = NULL"
                " WHERE folded_name = ? AND (? = ? OR disabled_by IS ?)",
                (_fold(name), by, OPERATOR, by),
            )
            return cursor.rowcount > 0

        return await self._write(enable)

    async def delete_user(self, name: str) -> bool:
        """Delete a user; what hangs off them goes with them."""

        def delete(db: sqlite3.Connection, now: float) -> bool:
            db.execute("DELETE FROM invitations WHERE folded_name = ?", (_fold(name),))
            row = db.execute("SELECT subject FROM users WHERE folded_name = ?", (_fold(name),)).fetchone()
            if row is None:
                return False
            _revoke(db, "subject", row["subject"], now)
            db.execute("DELETE FROM users WHERE subject = ?", (row["subject"],))
            return True

        return await self._write(delete)

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        """Store a one-time link in place of an older one."""

        def add(db: sqlite3.Connection, now: float) -> bool:
            if name is None and db.execute("SELECT 1 FROM users LIMIT 1").fetchone():
                return False
            folded = None if name is None else _fold(name)
            db.execute("DELETE FROM invitations WHERE folded_name IS ?", (folded,))
            db.execute(
                "INSERT INTO invitations (digest, subject, folded_name, name, scopes, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (digest, str(uuid.uuid4()), folded, name, rows.text(scopes), now + lifetime_seconds),
            )
            return True

        return await self._write(add)

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        """Return what the link is good for."""
        row = self._read_one(
            "SELECT i.name, coalesce(u.subject, i.subject) AS subject"
            " FROM invitations AS i LEFT JOIN users AS u USING (folded_name)"
            " WHERE i.digest = :digest AND i.expires_at > :now"
            " AND (i.name IS NOT NULL OR NOT EXISTS (SELECT 1 FROM users))",
            digest=digest,
        )
        return None if row is None else Invitation(name=row["name"], subject=row["subject"])

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None
    ) -> User | None:
        """Consume the link, create or recover the account, set its credential."""

        def claim(db: sqlite3.Connection, now: float) -> User | None:
            invitation = db.execute(
                "DELETE FROM invitations WHERE digest = ? AND expires_at > ? RETURNING *",
                (digest, now),
            ).fetchone()
            if invitation is None:
                return None
            first = invitation["name"] is None
            if first and db.execute("SELECT 1 FROM users LIMIT 1").fetchone():
                return None
            wanted = name if first else invitation["name"]
            user = _made_user(db, wanted, invitation["subject"], invitation["scopes"], now)
            if user.disabled_at is not None:
                return None
            if credential is not None:
                db.execute(
                    "INSERT INTO credentials (subject, kind, value, counter) VALUES (?, ?, ?, 1)"
                    " ON CONFLICT DO UPDATE SET value = excluded.value, counter = counter + 1",
                    (user.subject, *credential),
                )
            db.execute("DELETE FROM sessions WHERE subject = ?", (user.subject,))
            return user

        return await self._write(claim)

    # what logins need

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        """Return the user's credential of that kind."""
        row = self._read_one(
            "SELECT value, counter FROM credentials WHERE subject = :subject AND kind = :kind",
            subject=subject,
            kind=kind,
        )
        return None if row is None else Credential(value=row["value"], counter=row["counter"])

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        """Replace the credential if nobody else did since it was read."""

        def put(db: sqlite3.Connection, now: float) -> bool:
            if counter == 0:
                cursor = db.execute(
                    "INSERT OR IGNORE INTO credentials (subject, kind, value, counter)"
                    " SELECT subject, ?, ?, 1 FROM users WHERE subject = ?",
                    (kind, value, subject),
                )
            else:
                cursor = db.execute(
                    "UPDATE credentials SET value = ?, counter = counter + 1"
                    " WHERE subject = ? AND kind = ? AND counter = ?",
                    (value, subject, kind, counter),
                )
            return cursor.rowcount > 0

        return await self._write(put)

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        """Return all credentials of the user."""
        found = self._read(
            "SELECT * FROM credentials WHERE subject = :subject ORDER BY kind", subject=subject
        )
        return {row["kind"]: Credential(value=row["value"], counter=row["counter"]) for row in found}

    async def delete_credential(self, subject: str, kind: str, *, beside: str | None = None) -> bool:
        """Delete the user's credential of that kind."""

        def delete(db: sqlite3.Connection, now: float) -> bool:
            cursor = db.execute(
                "DELETE FROM credentials WHERE subject = :subject AND kind = :kind"
                " AND (:beside IS NULL OR EXISTS (SELECT 1 FROM credentials AS other"
                " WHERE other.subject = :subject AND other.kind <> :kind"
                " AND substr(other.kind, 1, length(:beside)) = :beside))",
                {"subject": subject, "kind": kind, "beside": beside},
            )
            return cursor.rowcount > 0

        return await self._write(delete)

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        """Store something that can be taken once."""

        def add(db: sqlite3.Connection, now: float) -> None:
            db.execute("INSERT INTO tickets VALUES (?, ?, ?)", (digest, value, now + lifetime_seconds))

        await self._write(add)

    async def take_ticket(self, digest: bytes) -> bytes | None:
        """Consume a ticket."""

        def take(db: sqlite3.Connection, now: float) -> bytes | None:
            row = db.execute(
                "DELETE FROM tickets WHERE digest = ? AND expires_at > ? RETURNING value", (digest, now)
            ).fetchone()
            return None if row is None else bytes(row["value"])

        return await self._write(take)

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        """Count an attempt in all buckets, or in none (generic cell rate algorithm)."""

        def take(db: sqlite3.Connection, now: float) -> float:
            full_at: dict[bytes, float] = {}
            wait = 0.0
            for bucket in buckets:
                row = db.execute("SELECT full_at FROM buckets WHERE key = ?", (bucket.key,)).fetchone()
                start = max(now, row["full_at"] if row else now)
                wait = max(wait, start - now - (bucket.burst - 1) * bucket.interval_seconds)
                full_at[bucket.key] = start + bucket.interval_seconds
            if wait > 0:
                return wait
            db.executemany(
                "INSERT INTO buckets (key, full_at) VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET full_at = excluded.full_at",
                full_at.items(),
            )
            return 0

        return await self._write(take)

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        """Take back one attempt from each bucket."""

        def give_back(db: sqlite3.Connection, now: float) -> None:
            db.executemany(
                "UPDATE buckets SET full_at = full_at - ? WHERE key = ?",
                [(bucket.interval_seconds, bucket.key) for bucket in buckets],
            )

        await self._write(give_back)

    async def add_session(self, digest: bytes, subject: str, *, device: str, lifetime_seconds: float) -> None:
        """Store a session."""

        def add(db: sqlite3.Connection, now: float) -> None:
            db.execute(
                "INSERT INTO sessions (digest, subject, device, created_at, expires_at)"
                " SELECT ?, subject, ?, ?, ? FROM users WHERE subject = ? AND disabled_at IS NULL",
                (digest, device, now, now + lifetime_seconds, subject),
            )

        await self._write(add)

    async def get_session(self, digest: bytes) -> Session | None:
        """Return the session if it and its user are alive."""
        row = self._read_one(f"{SESSIONS} AND s.digest = :digest", digest=digest)
        return None if row is None else rows.session(row)

    async def end_session(self, digest: bytes) -> None:
        """End the session."""

        def end(db: sqlite3.Connection, now: float) -> None:
            db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))

        await self._write(end)

    async def list_sessions(self, subject: str) -> list[Session]:
        """Return the living sessions of the user, oldest first."""
        found = self._read(f"{SESSIONS} AND s.subject = :subject ORDER BY s.created_at", subject=subject)
        return [rows.session(row) for row in found]

    async def end_sessions(self, subject: str, *, keep: bytes | None = None) -> None:
        """End all sessions of the user, but one."""

        def end(db: sqlite3.Connection, now: float) -> None:
            db.execute("DELETE FROM sessions WHERE subject = ? AND digest IS NOT ?", (subject, keep))

        await self._write(end)

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

        def add(db: sqlite3.Connection, now: float) -> bool:
            waiting = db.execute(
                "SELECT count(*) FROM authorization_requests WHERE address = ? AND expires_at > ?",
                (request.address, now),
            ).fetchone()[0]
            if waiting >= limit:
                return False
            cursor = db.execute(
                """
                INSERT INTO authorization_requests (digest, client_id, redirect_uri,
                    redirect_uri_explicit, state, scopes, code_challenge, resource, address, expires_at)
                SELECT ?, client_id, ?, ?, ?, ?, ?, ?, ?, ? FROM clients WHERE client_id = ?
                """,
                (
                    digest,
                    request.redirect_uri,
                    request.redirect_uri_explicit,
                    request.state,
                    " ".join(request.scopes),
                    request.code_challenge,
                    request.resource,
                    request.address,
                    now + lifetime_seconds,
                    request.client_id,
                ),
            )
            return cursor.rowcount > 0

        return await self._write(add)

    async def get_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Return the request, without consuming it."""
        row = self._read_one(
            "SELECT * FROM authorization_requests WHERE digest = :digest AND expires_at > :now",
            digest=digest,
        )
        return None if row is None else rows.authorization_request(row)

    async def take_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Consume the request."""

        def take(db: sqlite3.Connection, now: float) -> AuthorizationRequest | None:
            row = _take_request(db, digest, now)
            return None if row is None else rows.authorization_request(row)

        return await self._write(take)

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

        def create(db: sqlite3.Connection, now: float) -> AuthorizationRequest | None:
            alive = db.execute(
                "SELECT 1 FROM users WHERE subject = ? AND disabled_at IS NULL", (subject,)
            ).fetchone()
            taken = alive and _take_request(db, request, now)
            if not taken:
                return None
            grant_id = str(uuid.uuid4())
            db.execute(
                "INSERT INTO grants (grant_id, client_id, subject, scopes, resource, redirect_uri,"
                " created_at, used_at, expires_at, access_until, remembered_until)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    grant_id,
                    taken["client_id"],
                    subject,
                    " ".join(scopes),
                    taken["resource"],
                    taken["redirect_uri"],
                    now,
                    now,
                    now + grant_seconds,
                    now,
                    now + remember_seconds,
                ),
            )
            db.execute(
                "INSERT INTO codes (digest, grant_id, redirect_uri_explicit, code_challenge, expires_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    code,
                    grant_id,
                    taken["redirect_uri_explicit"],
                    taken["code_challenge"],
                    now + code_seconds,
                ),
            )
            return rows.authorization_request(taken)

        return await self._write(create)

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        """Say whether the user allowed this before and let it be remembered."""
        found = self._read(
            "SELECT scopes FROM living_grants WHERE subject = :subject AND client_id = :client_id"
            " AND redirect_uri = :redirect_uri AND resource = :resource"
            " AND expires_at > :now AND remembered_until > :now",
            subject=subject,
            client_id=request.client_id,
            redirect_uri=request.redirect_uri,
            resource=request.resource,
        )
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in found)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        """Return the code, spent or not, until its original expiry."""
        row = self._read_one(
            "SELECT c.*, g.client_id, g.subject, g.scopes, g.resource, g.redirect_uri"
            " FROM codes AS c JOIN grants AS g USING (grant_id)"
            " WHERE c.digest = :digest AND c.expires_at > :now",
            digest=digest,
        )
        return (
            None
            if row is None
            else AuthorizationCode(
                grant_id=row["grant_id"],
                client_id=row["client_id"],
                subject=row["subject"],
                scopes=tuple(row["scopes"].split()),
                resource=row["resource"],
                redirect_uri=row["redirect_uri"],
                redirect_uri_explicit=bool(row["redirect_uri_explicit"]),
                code_challenge=row["code_challenge"],
                expires_at=row["expires_at"],
            )
        )

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        """Spend the code and store the tokens, or revoke the grant of a spent one."""

        def redeem(db: sqlite3.Connection, now: float) -> Redeemed | Replayed | Gone:
            code = db.execute(
                "SELECT * FROM codes WHERE digest = ? AND expires_at > ?", (digest, now)
            ).fetchone()
            grant = code and _living_grant(db, code["grant_id"], now)
            if not grant:
                return Gone()
            scopes = grant["scopes"].split()
            if code["attempt"] == attempt:
                return Redeemed(rows.issued(grant, scopes, code["spent_at"], code["access_expires_at"]))
            if code["attempt"] is not None:
                _revoke(db, "grant_id", grant["grant_id"], now)
                return Replayed(grant_id=grant["grant_id"], subject=grant["subject"])
            expires_at = min(now + lifetimes.access_token_seconds, grant["expires_at"])
            db.execute(
                "UPDATE codes SET attempt = ?, spent_at = ?, access_expires_at = ? WHERE digest = ?",
                (attempt, now, expires_at, digest),
            )
            _store_tokens(db, grant, scopes, tokens, lifetimes, now=now, access_expires_at=expires_at)
            db.execute(
                "UPDATE clients SET completed_at = coalesce(completed_at, ?) WHERE client_id = ?",
                (now, grant["client_id"]),
            )
            return Redeemed(rows.issued(grant, scopes, now, expires_at))

        return await self._write(redeem)

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """Return the refresh token, spent or not, until its original expiry."""
        row = self._read_one(
            "SELECT r.*, g.client_id, g.subject, g.scopes, g.resource, u.scopes AS entitlement"
            " FROM refresh_tokens AS r JOIN grants AS g USING (grant_id) JOIN users AS u USING (subject)"
            " WHERE r.digest = :digest AND r.expires_at > :now",
            digest=digest,
        )
        return (
            None
            if row is None
            else RefreshToken(
                grant_id=row["grant_id"],
                client_id=row["client_id"],
                subject=row["subject"],
                scopes=tuple(row["scopes"].split()),
                entitlement=rows.scopes(row["entitlement"]),
                resource=row["resource"],
                expires_at=row["expires_at"],
            )
        )

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

        def rotate(db: sqlite3.Connection, now: float) -> Rotated | Reused | Gone:
            row = db.execute(
                "SELECT * FROM refresh_tokens WHERE digest = ? AND expires_at > ?", (digest, now)
            ).fetchone()
            grant = row and _living_grant(db, row["grant_id"], now)
            if not grant:
                return Gone()
            if row["spent_at"] is None:
                expires_at = min(now + lifetimes.access_token_seconds, grant["expires_at"])
                db.execute(
                    "UPDATE refresh_tokens SET salt = ?, spent_at = ?, access_scopes = ?,"
                    " access_expires_at = ? WHERE digest = ?",
                    (salt, now, " ".join(scopes), expires_at, digest),
                )
                _store_tokens(db, grant, scopes, tokens, lifetimes, now=now, access_expires_at=expires_at)
                return Rotated(rows.issued(grant, scopes, now, expires_at), salt, repeated=False)
            mine = row["salt"] == salt
            if mine or (row["salt"] is not None and now - row["spent_at"] <= replay_seconds):
                issued = rows.issued(
                    grant, row["access_scopes"].split(), row["spent_at"], row["access_expires_at"]
                )
                return Rotated(issued, row["salt"], repeated=not mine)
            _revoke(db, "grant_id", grant["grant_id"], now)
            return Reused(grant_id=grant["grant_id"], subject=grant["subject"])

        return await self._write(rotate)

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        """Store one more access token of a grant."""

        def add(db: sqlite3.Connection, now: float) -> None:
            db.execute(
                "INSERT OR IGNORE INTO access_tokens (digest, grant_id, scopes, expires_at)"
                " SELECT ?, grant_id, ?, ? FROM grants WHERE grant_id = ?",
                (digest, " ".join(scopes), expires_at, grant_id),
            )

        await self._write(add)

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        """Return the access token if all that it hangs off is alive."""
        row = self._read_one(
            "SELECT a.scopes AS granted, a.expires_at AS ends_at, g.*"
            " FROM access_tokens AS a JOIN living_grants AS g USING (grant_id)"
            " WHERE a.digest = :digest AND a.expires_at > :now AND g.expires_at > :now",
            digest=digest,
        )
        return (
            None
            if row is None
            else AccessToken(
                grant_id=row["grant_id"],
                client_id=row["client_id"],
                subject=row["subject"],
                user_name=row["user_name"],
                scopes=tuple(row["granted"].split()),
                entitlement=rows.scopes(row["entitlement"]),
                resource=row["resource"],
                expires_at=row["ends_at"],
            )
        )

    async def list_grants(self, subject: str | None = None) -> list[Grant]:
        """Return all grants that are alive, or those of a user, oldest first."""
        found = self._read(
            "SELECT * FROM living_grants WHERE expires_at > :now"
            " AND (:subject IS NULL OR subject = :subject) ORDER BY created_at",
            subject=subject,
        )
        return [
            Grant(
                grant_id=row["grant_id"],
                client_id=row["client_id"],
                subject=row["subject"],
                user_name=row["user_name"],
                scopes=tuple(row["scopes"].split()),
                resource=row["resource"],
                redirect_uri=row["redirect_uri"],
                created_at=row["created_at"],
                used_at=row["used_at"],
                expires_at=row["expires_at"],
                revoked_at=row["revoked_at"],
            )
            for row in found
        ]

    async def revoke_grant(self, grant_id: str) -> bool:
        """Revoke a grant with all its tokens."""
        return await self._write(lambda db, now: _revoke(db, "grant_id", grant_id, now))

    async def list_revocations(self, within_seconds: float | None) -> list[Revocation]:
        """Return the grants that ended before their access tokens did."""
        found = self._read(
            "SELECT grant_id, until FROM revocations"
            " WHERE until > :now AND (:within IS NULL OR revoked_at >= :now - :within)",
            within=within_seconds,
        )
        return [Revocation(grant_id=row["grant_id"], until=row["until"]) for row in found]

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Delete up to about `limit` expired records of each sort, one transaction a sort."""
        deleted = 0
        for statement in PURGE:

            def purge(db: sqlite3.Connection, now: float, statement: str = statement) -> int:
                cursor = db.execute(
                    statement,
                    {
                        "now": now,
                        "limit": limit,
                        "replayed": now - replay_seconds,
                        "unused": now - unused_seconds,
                        "idle": None if idle_seconds is None else now - idle_seconds,
                    },
                )
                return cursor.rowcount

            deleted += await self._write(purge)
        return deleted

    # backup

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables in one transaction."""
        try:
            with closing(connect(self._path)) as db:
                db.execute("BEGIN")
                for table, columns in TABLES.items():
                    for row in db.execute(DUMP[table]):
                        yield table, {name: neutral(row[name], columns[name]) for name in columns}
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records in one transaction, on a connection of its own."""
        try:
            with closing(connect(self._path)) as db:
                db.execute("BEGIN IMMEDIATE")
                if db.execute("SELECT 1 FROM clients UNION SELECT 1 FROM users LIMIT 1").fetchone():
                    raise NotEmpty
                async for table, row in records:
                    db.execute(FILL[table], {name: row.get(name) for name in TABLES[table]})
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error


def _made_user(db: sqlite3.Connection, name: str, subject: str, scopes: str | None, now: float) -> User:
    """Return the user of that name, making one where there is none."""
    db.execute(
        "INSERT INTO users (subject, folded_name, name, scopes, created_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (folded_name) DO NOTHING",
        (subject, _fold(name), name, scopes, now),
    )
    return rows.user(db.execute("SELECT * FROM users WHERE folded_name = ?", (_fold(name),)).fetchone())


def _take_request(db: sqlite3.Connection, digest: bytes, now: float) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(
        "DELETE FROM authorization_requests WHERE digest = ? AND expires_at > ? RETURNING *",
        (digest, now),
    ).fetchone()
    return row


def _living_grant(db: sqlite3.Connection, grant_id: str, now: float) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM living_grants WHERE grant_id = ? AND expires_at > ?", (grant_id, now)
    ).fetchone()
    return row


def _revoke(db: sqlite3.Connection, column: str, value: str, now: float) -> bool:
    """Revoke the living grants whose `column` has that value."""
    living = f"FROM grants WHERE {column} = :value AND revoked_at IS NULL"  # a name of ours
    values = {"value": value, "now": now}
    db.execute(
        f"INSERT OR IGNORE INTO revocations SELECT grant_id, :now, access_until {living}"
        " AND access_until > :now",
        values,
    )
    cursor = db.execute(
        f"UPDATE grants SET revoked_at = :now WHERE grant_id IN (SELECT grant_id {living})",  # noqa: S608
        values,
    )
    return cursor.rowcount > 0


def _store_tokens(
    db: sqlite3.Connection,
    grant: sqlite3.Row,
    scopes: Sequence[str],
    tokens: NewTokens,
    lifetimes: Lifetimes,
    *,
    now: float,
    access_expires_at: float,
) -> None:
    if tokens.refresh is not None:
        db.execute(
            "INSERT INTO refresh_tokens (digest, grant_id, expires_at) VALUES (?, ?, ?)",
            (
                tokens.refresh,
                grant["grant_id"],
                min(now + lifetimes.refresh_token_seconds, grant["expires_at"]),
            ),
        )
    db.execute(
        "UPDATE grants SET used_at = ?, access_until = max(access_until, ?) WHERE grant_id = ?",
        (now, access_expires_at, grant["grant_id"]),
    )
    if tokens.access is not None:
        db.execute(
            "INSERT INTO access_tokens (digest, grant_id, scopes, expires_at) VALUES (?, ?, ?, ?)",
            (tokens.access, grant["grant_id"], " ".join(scopes), access_expires_at),
        )
