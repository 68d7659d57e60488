"""The format: encoding, checking, and following what was revoked.

A check costs a signature the first time, then a look into two tables in memory. Revocations and keys come
from the storage each second; where they cannot be had, each check asks, and is answered 503 if that fails.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import clock, limits
from authserver.clock import Moment
from authserver.crypto import secret_values
from authserver.crypto.sealing import Seal
from authserver.crypto.secret_values import Kind, derive
from authserver.model.records import AccessToken
from authserver.storage import Storage
from authserver.storage.verdicts import Issued
from authserver.tokens.jwt.key_ring import KeyRing
from authserver.tokens.jwt.parsing import TYPE, NotAToken, Parts, access_token, split

JWKS_PATH = "/.well-known/jwks.json"


class JWTAccessTokens:
    """The TokenFormat protocol over signed tokens."""

    revoked_within_seconds: float = limits.REVOKED_WITHIN_SECONDS

    def __init__(self, *, issuer: str, keys: KeyRing, key_seconds: int) -> None:
        """Take the issuer, its keys, and for how many seconds others may keep the list of them."""
        self._issuer = issuer
        self._keys = keys
        self._key_seconds = key_seconds
        self._verified: dict[bytes, tuple[str, AccessToken]] = {}
        self._listed: tuple[list[str], bytes] = ([], b'{"keys": []}')
        self._ended: dict[str, float] = {}
        self._caught_up: Moment | None = None
        self._heard_until: float | None = None  # by the store's clock
        self._catching_up: asyncio.Task[None] | None = None

    def open(self, storage: Storage, seal: Seal) -> None:
        """Take the open storage, and what seals keys."""
        self._grants = storage.grants
        self._keys.open(storage.facts, seal)

    async def close(self) -> None:
        """End what is asked of the storage."""
        task, self._catching_up = self._catching_up, None
        self._caught_up = self._heard_until = None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # ------------------------------------------------------------------------------------ publishing

    @property
    def routes(self) -> list[Route]:
        """The key set."""
        return [Route(JWKS_PATH, self._key_set, methods=["GET"])]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Where the key set is."""
        return {"jwks_uri": self._issuer + JWKS_PATH}

    async def _key_set(self, request: Request) -> Response:
        """Return the public keys (RFC 7517 section 5), for half as long as a key is published ahead."""
        await self._fresh()
        published = self._keys.published
        kids = [key.kid for key in published]
        if kids != self._listed[0]:
            self._listed = kids, json.dumps({"keys": [key.jwk() for key in published]}).encode()
        body = self._listed[1]
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={self._key_seconds}"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    # --------------------------------------------------------------------------------------- issuing

    def digest(self, seed: bytes) -> None:
        """Return nothing: nothing is stored of an access token."""

    async def encode(self, seed: bytes, issued: Issued) -> str:
        """Return a signed token (RFC 9068 section 2.2): the same seed, the same claims."""
        await self._fresh()
        signer = self._keys.signer
        header = {"alg": signer.algorithm, "kid": signer.kid, "typ": TYPE}
        claims = {
            "iss": self._issuer,
            "sub": issued.subject,
            "aud": issued.resource,
            "client_id": issued.client_id,
            "scope": " ".join(issued.scopes),
            "iat": int(issued.issued_at),
            "exp": int(issued.expires_at),
            "jti": derive(seed, "jti").hex()[:32],
            "grant_id": issued.grant_id,
            "preferred_username": issued.user_name,
        }
        message = b".".join(_base64url(_json(part)) for part in (header, claims))
        return (message + b"." + _base64url(await signer.sign(message))).decode()

    # -------------------------------------------------------------------------------------- checking

    async def load(self, token: str) -> AccessToken | None:
        """Return what the token stands for if it is alive. May raise StorageUnavailable."""
        if token.startswith(Kind.ACCESS_TOKEN.value):
            # Of the opaque format, which this project had before.
            return await self._grants.get_access_token(secret_values.digest(Kind.ACCESS_TOKEN, token))
        try:
            found = await self._verify(token)
        except NotAToken:
            return None
        if found.expires_at <= clock.now():
            return None
        await self._fresh()
        return None if found.grant_id in self._ended else found

    async def _verify(self, token: str) -> AccessToken:
        """Return what a token with a right signature says; raises NotAToken."""
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        if known := self._verified.get(digest):
            kid, found = known
            if self._keys.find(kid):
                return found
            del self._verified[digest]
        parts = split(token)
        found = await self._verify_signature(parts)
        if found.expires_at > clock.now():
            if len(self._verified) >= limits.VERIFIED_TOKENS:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = (parts.kid, found)
        return found

    async def _verify_signature(self, parts: Parts) -> AccessToken:
        key = self._keys.find(parts.kid)
        if key is None:
            # Perhaps another node made it just now.
            await self._fresh(within_seconds=limits.UNKNOWN_KEY_SECONDS)
            key = self._keys.find(parts.kid)
        if key is None or key.algorithm != parts.algorithm:
            raise NotAToken
        if not key.verifies(parts.message, parts.signature):
            raise NotAToken
        return access_token(parts.payload, self._issuer)

    # ------------------------------------------------------------------------------------------ keys

    async def list_keys(self) -> list[dict[str, Any]]:
        """Return the signing keys."""
        return await self._keys.rows()

    async def rotate_keys(self, *, at_once: bool) -> str:
        """Make the next signing key."""
        return await self._keys.rotate(at_once=at_once)

    async def rewrap(self) -> int:
        """Seal the signing keys again."""
        return await self._keys.rewrap()

    # ------------------------------------------------------------------------------------- following

    async def _fresh(self, within_seconds: float = revoked_within_seconds) -> None:
        """Catch up if that was longer ago; may raise StorageUnavailable."""
        if self._caught_up is None or self._caught_up.age() > within_seconds:
            await self.catch_up()

    async def catch_up(self) -> None:
        """Learn of revocations and keys. All that wait at the same time share one attempt and its end."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._catch_up())
        await asyncio.shield(self._catching_up)

    async def _catch_up(self) -> None:
        began = clock.moment()
        await self._keys.catch_up()
        # From where the store's own clock was: what this node's clocks say of a pause may be nothing.
        heard = self._heard_until
        until, ended = await self._grants.list_revocations(
            None if heard is None else heard - limits.REVOCATIONS_AGAIN_SECONDS
        )
        if heard is not None and until < heard:
            # That clock was set back, or is another one now: what was revoked since may bear any time.
            until, ended = await self._grants.list_revocations(None)
        self._ended.update((one.grant_id, one.until) for one in ended)
        # By the clock that is behind: one that was set forward by mistake must not forget what still counts.
        past = min(until, clock.now()) - limits.CLOCK_SKEW_SECONDS
        self._ended = {grant_id: ends for grant_id, ends in self._ended.items() if ends > past}
        self._heard_until, self._caught_up = until, began


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
