"""How an answer with tokens is made, and made again (RFC 6749 section 5.1).

Both tokens are made from seeds. Those of an answer to a refresh are derived from the presented token and a
stored salt: the same answer can be given again, and nothing that could be stolen is kept for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mcp.shared.auth import OAuthToken

from authserver import clock
from authserver.crypto import marked_tokens, secret_values
from authserver.crypto.keys import Keys
from authserver.crypto.secret_values import Kind, derive, digest, new_seed
from authserver.model.issued import TooManyRefreshes
from authserver.settings import CoreSettings
from authserver.storage import Storage
from authserver.storage.sign_ins import Bucket
from authserver.storage.verdicts import Issued, Lifetimes, NewTokens
from authserver.tokens import TokenFormat


@dataclass(frozen=True, slots=True)
class Seeds:
    """What the tokens of an answer are made from; `refresh` is None for a client that takes none."""

    access: bytes = field(repr=False)
    refresh: bytes | None = field(repr=False)


def first(keys: Keys, grant_id: str, *, with_refresh_token: bool) -> Seeds:
    """Return new seeds, for tokens of a grant."""
    refresh = _of_grant(new_seed(), grant_id, keys.mark(keys.new_salt())) if with_refresh_token else None
    return Seeds(access=new_seed(), refresh=refresh)


def successors(keys: Keys, presented: str, grant_id: str, salt: bytes, scopes: Sequence[str]) -> Seeds:
    """Return the seeds of what follows the presented refresh token of a grant."""
    key = derive(keys.replay(salt), presented)
    refresh = _of_grant(derive(key, "refresh", salt), grant_id, keys.mark(salt))
    return Seeds(access=derive(key, "access", salt, *scopes), refresh=refresh)


def grant_of(keys: Keys, token: str) -> str | None:
    """Return the id of the grant for which a refresh token was issued, as far as it says so itself."""
    return marked_tokens.grant_of(token, keys.mark_keys.values())


def bucket(settings: CoreSettings, grant_id: str) -> Bucket | None:
    """Return what limits how often the tokens of a grant are refreshed; None where nothing does."""
    allowed = settings.limit_refreshes_per_hour
    if allowed == 0:
        return None
    # Where the setting changes, it begins anew.
    key = f"refresh {allowed} {grant_id}".encode()
    return Bucket(key, allowed, min(3600 / allowed, settings.access_token_seconds / 2))


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
    tokens: TokenFormat,
    storage: Storage,
    issued: Issued,
    seeds: Seeds,
    scopes: Sequence[str],
    *,
    limit: Bucket | None,
) -> OAuthToken:
    """Return the answer of the first use; if other scopes are asked for, with an access token for these.

    That one is counted like a refresh: raises TooManyRefreshes.
    """
    stored = tokens.digest(seeds.access)
    if tuple(scopes) != issued.scopes and stored is not None:
        if limit and (wait := await storage.sign_ins.take_attempt([limit])):
            raise TooManyRefreshes(wait)
        await storage.grants.add_access_token(
            stored, grant_id=issued.grant_id, scopes=scopes, expires_at=issued.expires_at
        )
    return await answer(tokens, replace(issued, scopes=tuple(scopes)), seeds, now=clock.now())


def _of_grant(seed: bytes, grant_id: str, mark: bytes | None) -> bytes:
    return seed if mark is None else marked_tokens.marked(seed, grant_id, mark)


def _refresh_token(seeds: Seeds) -> str | None:
    return None if seeds.refresh is None else secret_values.encode(Kind.REFRESH_TOKEN, seeds.refresh)
