"""Authorization requests, grants, and what hangs off a grant, each found by its digest."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, astuple

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
    Revocation,
)
from authserver.storage.grants import Grants, Rotation
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import decode, each, found
from authserver.storage.rows import redemption, rotated, text
from authserver.storage.verdicts import (
    Gone,
    Lifetimes,
    Limited,
    NewTokens,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
)


class RedisGrants(Kept, Grants):
    """The grants of a store."""

    async def add_request(
        self,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        row = asdict(request) | {"digest": digest, "scopes": text(request.scopes)}
        stored = await self._server.run("add_authorization_request", row, lifetime_seconds, limit, again=True)
        return bool(stored)

    async def get_request(self, digest: bytes) -> AuthorizationRequest | None:
        return found(AuthorizationRequest, await self._server.run("get_authorization_request", digest))

    async def take_request(self, digest: bytes) -> AuthorizationRequest | None:
        return found(AuthorizationRequest, await self._server.run("take_authorization_request", digest))

    async def create(
        self,
        request: bytes,
        *,
        session: bytes,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        grant = {"grant_id": str(uuid.uuid4()), "scopes": text(scopes)}
        seconds = (grant_seconds, code_seconds, remember_seconds)
        taken = await self._server.run("create_grant", request, session, grant, {"digest": code}, *seconds)
        return found(AuthorizationRequest, taken)

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        wanted = {
            "client_id": request.client_id,
            "redirect_uri": request.redirect_uri,
            "resource": request.resource,
        }
        remembered = map(decode, await self._server.run("recall_consent", subject, wanted))
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in remembered)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        return found(AuthorizationCode, await self._server.run("get_code", digest))

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        flat = await self._server.run(
            "redeem_code", digest, attempt, asdict(tokens), asdict(lifetimes), again=True
        )
        return redemption(decode(flat) if flat else None)

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        return found(RefreshToken, await self._server.run("get_refresh_token", digest))

    async def get_forgotten(self, grant_id: str) -> RefreshToken | None:
        return found(RefreshToken, await self._server.run("get_forgotten", grant_id))

    async def revoke_forgotten(self, digest: bytes, grant_id: str) -> bool:
        return bool(await self._server.run("revoke_forgotten", digest, grant_id))

    async def rotate_refresh_token(
        self, digest: bytes, rotation: Rotation
    ) -> Rotated | Reused | Limited | Gone:
        flat = await self._server.run(
            "rotate_refresh_token",
            digest,
            text(rotation.scopes),
            rotation.salt,
            rotation.replay_seconds,
            asdict(rotation.tokens),
            asdict(rotation.lifetimes),
            *(astuple(rotation.bucket) if rotation.bucket else (None, None, None)),
            rotation.kept,
            again=True,
        )
        return rotated(decode(flat) if flat else None, rotation.salt)

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        row = {"digest": digest, "grant_id": grant_id, "scopes": text(scopes), "expires_at": expires_at}
        await self._server.run("add_access_token", row, again=True)

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        return found(AccessToken, await self._server.run("get_access_token", digest))

    async def all(self, subject: str | None = None) -> list[Grant]:
        grants = each(Grant, await self._server.run("list_grants", subject))
        return sorted(grants, key=lambda grant: grant.created_at)

    async def revoke(self, grant_id: str) -> bool:
        return bool(await self._server.run("revoke_grant", grant_id))

    async def list_revocations(self, since: float | None) -> tuple[float, list[Revocation]]:
        at, ended = await self._server.run("list_revocations", since)
        return float(at), each(Revocation, ended)
