"""What the ten methods hand to the handlers: the SDK's models, with what our checks need beside them."""

from fastmcp.server.auth.auth import AccessToken
from mcp.server.auth.provider import AuthorizationCode, AuthorizationParams, RefreshToken, TokenError
from pydantic import Field


class TooManyRefreshes(TokenError):
    """The tokens of a grant were refreshed too often (HTTP 429). Nothing has changed."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__("invalid_request", "refreshed too often")
        self.wait_seconds = wait_seconds


class AuthorizationRequest(AuthorizationParams):
    """The parameters of an authorization request, with the redirect URI as it was sent."""

    exact_redirect_uri: str
    address: str
    resources: tuple[str, ...] = ()
    """All that it names, where `resource` has room for one (RFC 8707 section 2)."""


class IssuedCode(AuthorizationCode):
    """An authorization code, spent or not."""

    code: str = Field(repr=False)
    grant_id: str
    exact_redirect_uri: str


class IssuedRefreshToken(RefreshToken):
    """A refresh token, spent or not, with what its user may grant now.

    `forgotten`: it was spent so long ago that nothing is stored of it, but it says itself what it was.
    """

    token: str = Field(repr=False)
    grant_id: str
    forgotten: bool = False
    entitlement: tuple[str, ...] | None


class IssuedAccessToken(AccessToken):
    """A living access token, with what its user may grant now."""

    token: str = Field(repr=False)
    grant_id: str
    entitlement: tuple[str, ...] | None
