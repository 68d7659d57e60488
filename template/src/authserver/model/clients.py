"""Clients: what they may register, and which redirect URIs are theirs."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import InvalidRedirectUriError, OAuthClientInformationFull
from pydantic import AnyHttpUrl, AnyUrl, Field, ValidationError

from authserver import limits
from authserver.model.records import Client
from authserver.model.scopes import Scopes
from authserver.uris import UNSAFE_SCHEMES, fold_front
from authserver.warned import warn_once

AUTH_METHODS = ("none", "client_secret_post", "client_secret_basic")
GRANT_TYPES = ("authorization_code", "refresh_token")

_TEXTS = ("client_name", "software_id", "software_version", "application_type")

_LOOPBACK = re.compile(r"(http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?].*)?)")
# RFC 3986 without what parsers disagree about: no space, control, quote, backslash, non-ASCII.
_URI = re.compile(r"[a-z][a-z0-9+.-]*:(?:[a-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9a-f]{2})+", re.IGNORECASE)
# Segments of a path by which a URI leaves what it begins with, however they are written.
_DOTS = re.compile(r"(?:/|%2f|%5c)(?:\.|%2e){1,2}(?:/|;|%2f|%5c|$)", re.IGNORECASE)
# RFC 1123 section 2.1, and `_`, which names of containers have.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# Browsers take what ends in a number for an IPv4 address.
_NUMBER = r".*(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$"
_HOST = re.compile(rf"(?!{_NUMBER})(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


class RegisteredClient(OAuthClientInformationFull):
    """A client as the ten methods hand it around; redirect URIs are compared as they were registered."""

    exact_redirect_uris: list[str] = Field(exclude=True)
    secret_digest: bytes | None = Field(default=None, exclude=True, repr=False)
    address: str = Field(default="", exclude=True)
    approved: bool = Field(default=True, exclude=True)
    operated: bool = Field(default=False, exclude=True)
    """Added by the operator, not by itself."""
    vouched_for: bool = Field(default=False, exclude=True)
    """Added or approved by the operator: its redirect URIs are not just a stranger's word."""
    introspects: bool = Field(default=False, exclude=True)
    """May ask about the tokens of other clients: the operator said so."""

    def exact_redirect_uri(self, asked: str | None) -> str:
        """Return the redirect URI of a request (RFC 6749 section 3.1.2.3).

        Raises InvalidRedirectUriError where it is not one of this client's.
        """
        if asked is None:
            if len(self.exact_redirect_uris) == 1:
                return self.exact_redirect_uris[0]
            raise InvalidRedirectUriError("redirect_uri is missing, and several are registered")
        if not any(same_redirect_uri(asked, registered) for registered in self.exact_redirect_uris):
            raise InvalidRedirectUriError("redirect_uri is not registered for this client")
        return asked

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """Do the same for the SDK's handlers, which parse the URI first."""
        asked = None if redirect_uri is None else str(redirect_uri)
        return AnyUrl(self.exact_redirect_uri(asked))

    def validate_scope(self, requested_scope: str | None) -> list[str] | None:
        """Return what is asked for: a later request may ask for more than the registration did."""
        return None if requested_scope is None else requested_scope.split()


def from_record(client: Client) -> RegisteredClient:
    """Return the stored client as the ten methods hand it around."""
    return RegisteredClient(
        **client.metadata,
        client_id=client.client_id,
        exact_redirect_uris=client.metadata["redirect_uris"],
        secret_digest=client.secret_digest,
        address=client.address,
        approved=client.approved_at is not None,
        vouched_for=client.vouched_for,
    )


def same_redirect_uri(asked: str, registered: str) -> bool:
    """Say whether two redirect URIs are the same: as strings, except for the port of a loopback address.

    RFC 8252 section 7.3: native clients listen on a port that they learn when they start.
    """
    if asked == registered:
        return True
    one, other = _LOOPBACK.fullmatch(asked), _LOOPBACK.fullmatch(registered)
    return bool(
        one and other and int(one[2] or 80) in range(1, 65536) and (one[1], one[3]) == (other[1], other[3])
    )


def is_loopback(uri: str) -> bool:
    """Say whether a redirect URI leads to a program on the browser's own computer."""
    return _LOOPBACK.fullmatch(uri) is not None


def destination(uri: str) -> str:
    """Return what people need to know of a redirect URI: where it leads."""
    target = urlsplit(uri)
    return f"{target.scheme}://{target.netloc}" if target.netloc else f"{target.scheme}:"


def usable_redirect_uris(uris: list[str], schemes: tuple[str, ...]) -> list[str]:
    """Return the redirect URIs that can be registered; merely unusable ones are left out.

    `schemes` are private-use schemes, or how URIs with one must begin, beside the reverse-domain ones (RFC
    8252 section 7.1). Raises RegistrationError `invalid_redirect_uri` for a dangerous one, and where none is
    left.
    """
    for uri in uris:
        # What a browser would strip or skip cannot hide a scheme from this check.
        folded = re.sub(r"[\x00-\x20]", "", uri).lower()
        if folded.startswith(tuple(f"{scheme}:" for scheme in UNSAFE_SCHEMES)):
            raise _invalid_redirect_uri("a redirect URI with this scheme is never allowed")
        if "#" in uri or "@" in uri.partition("//")[2].partition("/")[0]:
            raise _invalid_redirect_uri("a redirect URI must have no fragment and no user info")
    usable = [uri for uri in dict.fromkeys(uris) if _usable(uri, schemes)]
    if not usable:
        raise _invalid_redirect_uri(
            "no redirect URI can be used: https, http on a loopback address, a private-use scheme with a dot,"
            " or what the operator of this server lets in by AUTH_REDIRECT_SCHEMES"
        )
    return usable


def _usable(uri: str, schemes: tuple[str, ...]) -> bool:
    if len(uri) > limits.MAXIMUM_URI_CHARACTERS or not _URI.fullmatch(uri):
        return False
    try:
        url = AnyUrl(uri)
    except ValidationError:
        return False
    match url.scheme:
        case "https":
            # Parsers skip further slashes: what they find there is a path to us.
            return re.match("https://[^/?]", uri) is not None and _is_host(urlsplit(uri).netloc)
        case "http":
            return is_loopback(uri)
        case scheme:
            if scheme in schemes or "." in scheme or _begins_so(uri, schemes):
                return True
            warn_once("a redirect URI was refused: AUTH_REDIRECT_SCHEMES has no beginning of it", uri)
            return False


def _begins_so(uri: str, beginnings: tuple[str, ...]) -> bool:
    """Say whether a URI begins with one of these, up to the end of a segment, and stays below it."""
    folded = fold_front(uri)
    if _DOTS.search(folded.partition("?")[0]):
        return False
    return any(
        folded == beginning or folded.startswith(tuple(beginning.rstrip("/") + end for end in "/?"))
        for beginning in beginnings
        if ":" in beginning
    )


def _is_host(netloc: str) -> bool:
    """Say whether a host with or without a port is a name or an address, and no pattern of names."""
    host = re.sub(r":[0-9]{1,5}$", "", netloc)
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif not _HOST.fullmatch(host):
            IPv4Address(host)
    except ValueError:
        return False
    return True


def _invalid_redirect_uri(description: str) -> RegistrationError:
    return RegistrationError("invalid_redirect_uri", description)


def _invalid_metadata(description: str) -> RegistrationError:
    return RegistrationError("invalid_client_metadata", description)


def parse_registration(body: Any, schemes: tuple[str, ...], scopes: Scopes) -> dict[str, Any]:
    """Return the metadata that is registered for a request (RFC 7591 section 2): only what can be had here.

    `schemes` are those of `usable_redirect_uris`, `scopes` those of the server. What the server decides
    itself (`client_id`, `client_secret`, ...) cannot be set.

    Raises RegistrationError.
    """
    if not isinstance(body, dict):
        raise _invalid_metadata("the body must be a JSON object")
    uris = body.get("redirect_uris")
    if not _is_strings(uris) or not 0 < len(uris) <= limits.MAXIMUM_REDIRECT_URIS:
        raise _invalid_redirect_uri(
            f"redirect_uris must be a list of 1 to {limits.MAXIMUM_REDIRECT_URIS} strings"
        )
    # RFC 7591 says client_secret_basic where none is named; MCP clients that name none post the secret.
    method = body.get("token_endpoint_auth_method") or "client_secret_post"
    if method not in AUTH_METHODS:
        raise _invalid_metadata(f"token_endpoint_auth_method must be one of {', '.join(AUTH_METHODS)}")
    grant_types = body.get("grant_types") or list(GRANT_TYPES)
    if not _is_strings(grant_types) or "authorization_code" not in grant_types:
        raise _invalid_metadata("grant_types must be a list with authorization_code in it")
    response_types = body.get("response_types") or ["code"]
    if not _is_strings(response_types) or "code" not in response_types:
        raise _invalid_metadata("response_types must be a list with code in it")
    if _holds_private_key(body.get("jwks")):
        raise _invalid_metadata("jwks must hold public keys only")
    return {
        "redirect_uris": usable_redirect_uris(uris, schemes),
        "token_endpoint_auth_method": method,
        "grant_types": [name for name in GRANT_TYPES if name in grant_types],
        "response_types": ["code"],
        **_described(body),
        **_scope(body, scopes),
    }


def resource_server(name: str, method: str) -> dict[str, Any]:
    """Return the metadata of a client that gets no token: it asks about those of others."""
    return {
        "client_name": name,
        "redirect_uris": [],
        "token_endpoint_auth_method": method,
        "grant_types": [],
        "response_types": [],
    }


def _described(body: dict[str, Any]) -> dict[str, str]:
    """Return what the client says of itself, for people to read."""
    described = {}
    for name in _TEXTS:
        text = body.get(name)
        if text is None:
            continue
        if not isinstance(text, str):
            raise _invalid_metadata(f"{name} must be a string")
        if text := _printable(text)[: limits.MAXIMUM_CLIENT_TEXT_CHARACTERS]:
            described[name] = text
    if home := body.get("client_uri"):
        try:
            described["client_uri"] = str(AnyHttpUrl(home))
        except ValidationError:
            raise _invalid_metadata("client_uri must be an http or https address") from None
    return described


def _scope(body: dict[str, Any], scopes: Scopes) -> dict[str, str]:
    """Return those of the scopes that exist. The client may ask for others all the same, later."""
    text = body.get("scope")
    if not isinstance(text, str | None):
        raise _invalid_metadata("scope must be a string")
    known = scopes.known((text or "").split())
    return {"scope": " ".join(known)} if known else {}


def _holds_private_key(jwks: Any) -> bool:
    """Say whether a key is private or symmetric (RFC 7518 section 6): not used, but its owner must know."""
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    return isinstance(keys, list) and any(isinstance(key, dict) and {"d", "k"} & key.keys() for key in keys)


def _is_strings(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _printable(text: str) -> str:
    """Drop control characters and lone surrogates, which have no place on a page or in a database."""
    return "".join(character for character in text if character.isprintable())
