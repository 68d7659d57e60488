"""How an answer with tokens is made, and made again (RFC 6749 section 5.1).

Both tokens are made from seeds. Those of an answer to a refresh are derived from the presented token and a
stored salt: the same answer can be given again, and nothing that could be stolen is kept for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mcp.shared.auth import OAuthToken

from authserver import clock
from authserver.crypto import secret_values
from authserver.crypto.keys import Keys
from authserver.crypto.secret_values import Kind, derive, digest, new_seed
from authserver.settings import CoreSettings
from authserver.storage import Storage
from authserver.storage.verdicts import Issued, Lifetimes, NewTokens
from authserver.tokens import TokenFormat


@dataclass(frozen=True, slots=True)
class Seeds:
    """What the tokens of an answer are made from; `refresh` is None for a client that takes none."""

    access: bytes = field(repr=False)
    refresh: bytes | None = field(repr=False)


def first(*, with_refresh_token: bool) -> Seeds:
    """Return new seeds."""
    return Seeds(access=new_seed(), refresh=new_seed() if with_refresh_token else None)


def successors(keys: Keys, presented: str, salt: bytes, scopes: Sequence[str]) -> Seeds:
    """Return the seeds of what follows the presented refresh token."""
    key = derive(keys.replay(salt), presented)
    return Seeds(access=derive(key, "access", salt, *scopes), refresh=derive(key, "refresh", salt))


def lifetimes(settings: CoreSettings) -> Lifetimes:
    """Return how long tokens live."""
    return Lifetimes(
        access_token_seconds=settings.access_token_seconds,
        refresh_token_seconds=settings.refresh_token_seconds,
    )


def digests(tokens: TokenFormat, seeds: Seeds) -> NewTokens:
    """Return what is stored of the tokens."""
    refresh = _refresh_token(seeds)
    return NewTokens(
        access=tokens.digest(seeds.access),
        refresh=None if refresh is None else digest(Kind.REFRESH_TOKEN, refresh),
    )


async def answer(tokens: TokenFormat, issued: Issued, seeds: Seeds, *, now: float) -> OAuthToken:
    """Return the token response."""
    return OAuthToken(
        access_token=await tokens.encode(seeds.access, issued),
        expires_in=max(0, round(issued.expires_at - now)),
        scope=" ".join(issued.scopes),
        refresh_token=_refresh_token(seeds),
    )


async def answer_again(
    tokens: TokenFormat, storage: Storage, issued: Issued, seeds: Seeds, scopes: Sequence[str]
) -> OAuthToken:
    """Return the answer of the first use; if other scopes are asked for, with an access token for these."""
    stored = tokens.digest(seeds.access)
    if tuple(scopes) != issued.scopes and stored is not None:
        await storage.grants.add_access_token(
            stored, grant_id=issued.grant_id, scopes=scopes, expires_at=issued.expires_at
        )
    return await answer(tokens, replace(issued, scopes=tuple(scopes)), seeds, now=clock.now())


def _refresh_token(seeds: Seeds) -> str | None:
    return None if seeds.refresh is None else secret_values.encode(Kind.REFRESH_TOKEN, seeds.refresh)
