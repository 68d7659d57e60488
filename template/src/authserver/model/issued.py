"""What the ten methods hand to the handlers: the SDK's models, with what our checks need beside them."""

from fastmcp.server.auth.auth import AccessToken
from mcp.server.auth.provider import AuthorizationCode, AuthorizationParams, RefreshToken
from pydantic import Field


class AuthorizationRequest(AuthorizationParams):
    """The parameters of an authorization request, with the redirect URI as it was sent."""

    exact_redirect_uri: str
    address: str
    resources: tuple[str, ...] = ()
    """All that it names, where `resource` has room for one (RFC 8707 section 2)."""


class IssuedCode(AuthorizationCode):
    """An authorization code, spent or not."""

    code: str = Field(repr=False)
    exact_redirect_uri: str


class IssuedRefreshToken(RefreshToken):
    """A refresh token, spent or not, with what its user may grant now."""

    token: str = Field(repr=False)
    grant_id: str
    entitlement: tuple[str, ...] | None


class IssuedAccessToken(AccessToken):
    """A living access token, with what its user may grant now."""

    token: str = Field(repr=False)
    grant_id: str
    entitlement: tuple[str, ...] | None
