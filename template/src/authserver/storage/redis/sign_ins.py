"""Credentials by subject and kind, tickets, buckets, and sessions."""

from collections.abc import Collection, Sequence

from authserver.model.records import Credential, Session
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import decode, each, found
from authserver.storage.rows import record
from authserver.storage.sign_ins import Bucket, SignIns


class RedisSignIns(Kept, SignIns):
    """What the logins of a store keep."""

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        return found(Credential, await self._server.run("get", "credentials", f"{subject}/{kind}"))

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        row = {"subject": subject, "kind": kind, "value": value}
        return bool(await self._server.run("put_credential", row, counter))

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        rows = map(decode, await self._server.run("list_credentials", subject))
        return {row["kind"]: record(Credential, row) for row in rows}

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        await self._server.run("add_ticket", {"digest": digest, "value": value}, lifetime_seconds)

    async def take_ticket(self, digest: bytes) -> bytes | None:
        value: bytes | None = await self._server.run("take_ticket", digest)
        return value

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        parts = [part for one in buckets for part in (one.key, one.burst, one.interval_seconds)]
        return float(await self._server.run("take_attempt", len(buckets), *parts))

    async def used_buckets(self, keys: Collection[bytes]) -> set[bytes]:
        return set(await self._server.run("used_buckets", list(keys)))

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        parts = [part for one in buckets for part in (one.key, one.interval_seconds)]
        await self._server.run("return_attempt", len(buckets), *parts)

    async def add_session(
        self, digest: bytes, subject: str, *, epoch: int, device: str, lifetime_seconds: float, limit: int
    ) -> bool:
        row = {"digest": digest, "subject": subject, "epoch": epoch or None, "device": device}
        return bool(await self._server.run("add_session", row, lifetime_seconds, limit, again=True))

    async def get_session(self, digest: bytes) -> Session | None:
        return found(Session, await self._server.run("get_session", digest))

    async def end_session(self, digest: bytes) -> None:
        await self._server.run("end_session", digest, again=True)

    async def list_sessions(self, subject: str) -> list[Session]:
        sessions = each(Session, await self._server.run("list_sessions", subject))
        return sorted(sessions, key=lambda session: session.created_at)
