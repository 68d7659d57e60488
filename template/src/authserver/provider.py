"""FastMCP's ten methods of an authorization server, in the order of the flow.

FastMCP's handlers, and ours (`endpoints/`), call `load_*`, check, then `exchange_*`. A load has no side
effect and answers for spent codes and tokens too; what can change is judged in one atomic storage operation.
This file knows no choice, no route and no page: `server.py` puts all together.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from fastmcp.server.auth.auth import AccessToken, OAuthProvider
from mcp.server.auth.provider import (
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    RefreshToken,
    RegistrationError,
    TokenError,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl

from authserver import issuing, limits
from authserver.audit import Event, audit
from authserver.crypto import secret_values
from authserver.crypto.keys import Keys
from authserver.crypto.secret_values import Kind, digest, new_seed
from authserver.login import Login
from authserver.model import clients, records
from authserver.model.issued import (
    AuthorizationRequest,
    IssuedAccessToken,
    IssuedCode,
    IssuedRefreshToken,
    TooManyRefreshes,
)
from authserver.model.resource_indicators import names_resource, same_resource
from authserver.model.scopes import Scopes
from authserver.requests.networks import networks, place
from authserver.settings import CoreSettings
from authserver.storage import Storage
from authserver.storage.clients import Share
from authserver.storage.grants import Rotation
from authserver.storage.verdicts import Gone, Limited, Redeemed, Replayed, Reused, Rotated
from authserver.tokens import TokenFormat

T = TypeVar("T")


class Provider(OAuthProvider):
    """The ten methods, for whatever settings, login, token format and storage `server.py` gives them."""

    def __init__(self, scopes: Scopes, otherwise: tuple[str, ...] = ()) -> None:
        """Take the scopes, and those that a component without `@requires` needs; opens nothing."""
        super().__init__(base_url="http://127.0.0.1:8000")
        self.scopes = scopes
        self.otherwise = otherwise
        self._storage: Storage | None = None
        self._keys: Keys | None = None

    @property
    @abstractmethod
    def settings(self) -> CoreSettings:
        """The settings of this process; raises SettingsError."""

    @property
    @abstractmethod
    def tokens(self) -> TokenFormat:
        """The format of access tokens; raises SettingsError."""

    @property
    @abstractmethod
    def login(self) -> Login:
        """How people sign in; raises SettingsError."""

    @abstractmethod
    async def open(self) -> None:
        """Open storage, keys and tokens; raises SettingsError or StorageUnavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Close what is open."""

    @property
    def storage(self) -> Storage:
        """The open storage."""
        return _opened(self._storage)

    @property
    def keys(self) -> Keys:
        """What is derived from the secret key."""
        return _opened(self._keys)

    @property
    def issuer(self) -> str:
        """The issuer identifier (RFC 8414): the public URL, letter by letter."""
        return self.settings.public_url

    @property
    def resource(self) -> str:
        """The identifier of the MCP endpoint (RFC 8707)."""
        return self.issuer + self.resource_path

    @property
    def resource_path(self) -> str:
        """The path of the MCP endpoint."""
        return self._mcp_path or "/mcp"

    @property
    def resource_metadata(self) -> str:
        """The address of the metadata of the MCP endpoint (RFC 9728 section 3.1)."""
        return f"{self.issuer}/.well-known/oauth-protected-resource{self.resource_path}"

    # ------------------------------------------------------------ the ten methods

    async def get_client(self, client_id: str) -> clients.RegisteredClient | None:
        """Return the client (RFC 7591), or None."""
        record = await self.storage.clients.get(client_id)
        return None if record is None else clients.from_record(record)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Store a client that `endpoints/register.py` or the operator made.

        Raises RegistrationError for one that others made.
        """
        if not isinstance(client_info, clients.RegisteredClient):
            raise RegistrationError("invalid_client_metadata", "use the registration endpoint")
        metadata = client_info.model_dump(
            mode="json",
            exclude_none=True,
            exclude={
                "client_id",
                "client_secret",
                "client_id_issued_at",
                "client_secret_expires_at",
            },
        )
        now = 0.0  # the store's clock sets the times
        await self.storage.clients.add(
            records.Client(
                client_id=client_info.client_id,
                metadata=metadata
                | {"redirect_uris": client_info.exact_redirect_uris}
                | ({"introspects": True} if client_info.introspects else {}),
                secret_digest=client_info.secret_digest,
                address=client_info.address,
                created_at=now,
                approved_at=now if client_info.approved else None,
                completed_at=now if client_info.operated else None,
            ),
            place=place(client_info.address),
            shares=[
                *map(Share, networks(client_info.address), limits.UNUSED_CLIENTS_OF_A_NETWORK),
                Share("", limits.UNUSED_CLIENTS),
            ],
        )
        audit(Event.CLIENT_REGISTERED, client=client_info.client_id)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """Store the validated request under a one-time id; return the address of the sign-in page.

        Raises AuthorizeError `invalid_scope` and `invalid_target` (RFC 8707 section 2).
        """
        if not isinstance(params, AuthorizationRequest):
            raise AuthorizeError("server_error", "use the authorization endpoint")
        scopes = self.scopes.asked(params.scopes)
        if not scopes:
            there_are = f": there are {' '.join(self.scopes.names)}" if self.settings.announce_scopes else ""
            raise AuthorizeError("invalid_scope", f"none of the scopes exists here{there_are}")
        named = [params.resource, *params.resources]
        if not all(asked is None or names_resource(asked, self.resource) for asked in named):
            raise AuthorizeError("invalid_target", f"the resource of this server is {self.resource}")
        request_id = secret_values.new(Kind.AUTHORIZATION_REQUEST)
        stored = await self.storage.grants.add_request(
            digest(Kind.AUTHORIZATION_REQUEST, request_id),
            records.AuthorizationRequest(
                client_id=client.client_id,
                redirect_uri=params.exact_redirect_uri,
                redirect_uri_explicit=params.redirect_uri_provided_explicitly,
                state=params.state,
                scopes=tuple(scopes),
                code_challenge=params.code_challenge,
                resource=self.resource,
                address=params.address,
            ),
            lifetime_seconds=limits.AUTHORIZATION_REQUEST_SECONDS,
            limit=limits.WAITING_REQUESTS_PER_ADDRESS,
        )
        if not stored:
            raise AuthorizeError("unauthorized_client", "the client was removed just now")
        return f"{self.issuer}/login?{urlencode({'request': request_id})}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> IssuedCode | None:
        """Return the code, spent or not, until its expiry, whoever it was issued to."""
        code = await self.storage.grants.get_code(digest(Kind.AUTHORIZATION_CODE, authorization_code))
        return (
            None
            if code is None
            else IssuedCode(
                code=authorization_code,
                grant_id=code.grant_id,
                client_id=code.client_id,
                subject=code.subject,
                scopes=list(code.scopes),
                resource=code.resource,
                redirect_uri=AnyUrl(code.redirect_uri),
                exact_redirect_uri=code.redirect_uri,
                redirect_uri_provided_explicitly=code.redirect_uri_explicit,
                code_challenge=code.code_challenge,
                expires_at=code.expires_at,
            )
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        """Spend the code and issue the first tokens of its grant.

        Raises TokenError `invalid_grant`. A code that was spent before revokes its grant: the caller has
        shown the client, redirect URI and verifier, so it is the one it was issued to (RFC 9700 2.1.1).
        """
        if not isinstance(authorization_code, IssuedCode):
            raise TokenError("invalid_grant", "the code is not one of this server")
        seeds = issuing.first(
            self.keys,
            authorization_code.grant_id,
            with_refresh_token="refresh_token" in client.grant_types,
        )
        verdict = await self.storage.grants.redeem_code(
            digest(Kind.AUTHORIZATION_CODE, authorization_code.code),
            attempt=new_seed(),
            tokens=issuing.digests(self.tokens, seeds),
            lifetimes=issuing.lifetimes(self.settings),
        )
        match verdict:
            case Redeemed(issued):
                audit(Event.CODE_REDEEMED, client=client.client_id, subject=issued.subject)
                return await issuing.answer(self.tokens, issued, seeds, now=issued.issued_at)
            case Replayed(grant_id, subject):
                audit(Event.CODE_REPLAYED, client=client.client_id, subject=subject, grant=grant_id)
                raise TokenError("invalid_grant", "the code was used before: its tokens are revoked")
            case Gone():
                raise TokenError("invalid_grant", "the code is not valid any more")

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> IssuedRefreshToken | None:
        """Return the refresh token, spent or not, until its expiry, whoever it was issued to.

        One that was spent long ago is known by its mark, as long as its grant goes on.
        """
        found = await self.storage.grants.get_refresh_token(digest(Kind.REFRESH_TOKEN, refresh_token))
        forgotten = False
        if found is None and (grant_id := issuing.grant_of(self.keys, refresh_token)):
            found = await self.storage.grants.get_forgotten(grant_id)
            forgotten = True
        return (
            None
            if found is None
            else IssuedRefreshToken(
                token=refresh_token,
                grant_id=found.grant_id,
                forgotten=forgotten,
                client_id=found.client_id,
                subject=found.subject,
                scopes=list(found.scopes),
                entitlement=found.entitlement,
                resource=found.resource,
                expires_at=int(found.expires_at),
            )
        )

    async def exchange_refresh_token(
        self,
        client: OAuthClientInformationFull,
        refresh_token: RefreshToken,
        scopes: list[str],
    ) -> OAuthToken:
        """Spend the refresh token; inside the replay window, give the same answer again.

        The answer is derived from the presented token and a stored salt, so that nothing that could be
        stolen is kept for it. Raises TokenError `invalid_grant`, and TooManyRefreshes, which changes nothing;
        reuse later than the window revokes the grant (RFC 9700 section 4.14.2).
        """
        if not isinstance(refresh_token, IssuedRefreshToken):
            raise TokenError("invalid_grant", "the refresh token is not one of this server")
        if refresh_token.forgotten:
            spent = digest(Kind.REFRESH_TOKEN, refresh_token.token)
            if await self.storage.grants.revoke_forgotten(spent, refresh_token.grant_id):
                raise self._reused(client, refresh_token.subject, refresh_token.grant_id)
            raise TokenError("invalid_grant", "the refresh token is not valid any more")
        scopes = self.scopes.allowed(scopes, refresh_token.entitlement)
        if not scopes:
            raise TokenError("invalid_grant", "the user may not grant any of these scopes any more")
        grant_id, salt = refresh_token.grant_id, self.keys.new_salt()
        seeds = issuing.successors(self.keys, refresh_token.token, grant_id, salt, scopes)
        bucket = issuing.bucket(self.settings, grant_id)
        verdict = await self.storage.grants.rotate_refresh_token(
            digest(Kind.REFRESH_TOKEN, refresh_token.token),
            Rotation(
                scopes=scopes,
                salt=salt,
                replay_seconds=self.settings.refresh_replay_seconds,
                tokens=issuing.digests(self.tokens, seeds),
                lifetimes=issuing.lifetimes(self.settings),
                bucket=bucket,
                kept=limits.SPENT_REFRESH_TOKENS,
            ),
        )
        match verdict:
            case Rotated(issued, _, repeated=False):
                return await issuing.answer(self.tokens, issued, seeds, now=issued.issued_at)
            case Rotated(issued, first_salt, repeated=True):
                seeds = issuing.successors(self.keys, refresh_token.token, grant_id, first_salt, scopes)
                return await issuing.answer_again(
                    self.tokens, self.storage, issued, seeds, scopes, limit=bucket
                )
            case Limited(wait_seconds):
                raise TooManyRefreshes(wait_seconds)
            case Reused(grant_id, subject):
                raise self._reused(client, subject, grant_id)
            case _:
                raise TokenError("invalid_grant", "the refresh token is not valid any more")

    def _reused(self, client: OAuthClientInformationFull, subject: str | None, grant_id: str) -> TokenError:
        audit(Event.REFRESH_TOKEN_REUSED, client=client.client_id, subject=subject, grant=grant_id)
        return TokenError("invalid_grant", "the token was used before: all of it is revoked")

    async def load_access_token(self, token: str) -> IssuedAccessToken | None:
        """Return what is stored for a living access token."""
        found = await self.tokens.load(token)
        return None if found is None else self._issued(token, found, found.scopes)

    def _issued(self, token: str, found: records.AccessToken, scopes: Sequence[str]) -> IssuedAccessToken:
        return IssuedAccessToken(
            token=token,
            grant_id=found.grant_id,
            client_id=found.client_id,
            subject=found.subject,
            scopes=list(scopes),
            entitlement=found.entitlement,
            resource=found.resource,
            expires_at=int(found.expires_at),
            claims={
                "iss": self.issuer,
                "sub": found.subject,
                "preferred_username": found.user_name,
            },
        )

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """Revoke the grant of a token, and so every token of it (RFC 7009 section 2.1)."""
        if isinstance(token, (IssuedAccessToken, IssuedRefreshToken)) and await self.storage.grants.revoke(
            token.grant_id
        ):
            audit(Event.GRANT_REVOKED, client=token.client_id, subject=token.subject, grant=token.grant_id)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return a living access token for this resource, with all scopes that it amounts to now.

        Scopes that its user may not grant any more are gone from it, those that it includes are in it.
        """
        found = await self.tokens.load(token)
        if found is None or not same_resource(found.resource, self.resource):
            return None
        return self._issued(token, found, self.scopes.effective(found.scopes, found.entitlement))

    # ------------------------------------------------------------ what FastMCP asks for

    @property
    def scopes_supported(self) -> list[str]:
        """The scopes in protected-resource metadata: the least that is useful; tools ask for more."""
        return self.scopes.default

    def get_challenge_scopes(self, required_scopes: list[str] | None = None) -> list[str]:
        """Return the scopes that a 401 names."""
        return self.scopes.default if self.settings.announce_scopes else []


def _opened(part: T | None) -> T:
    if part is None:
        raise RuntimeError("the authorization server is not open: run it with its ASGI lifespan")
    return part
