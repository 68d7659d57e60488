"""Client authentication at the token and revocation endpoints (RFC 6749 section 2.3)."""

import base64
import hmac
from urllib.parse import unquote_plus

from starlette.requests import Request

from authserver.crypto.secret_values import Kind, digest
from authserver.endpoints.errors import OAuthError
from authserver.model.clients import RegisteredClient
from authserver.provider import Provider


async def authenticate_client(server: Provider, request: Request, form: dict[str, str]) -> RegisteredClient:
    """Return the client that sent the request, by the one method that it registered.

    Raises OAuthError `invalid_client` (401), or `invalid_request` where two methods are used at once.
    """
    basic_id, basic_secret = _basic_credentials(request)
    if basic_secret and "client_secret" in form:
        raise OAuthError("invalid_request", "the client authenticates in two ways at once")
    # A part without a value is one that was left out, in the header too (RFC 6749 section 2.3.1).
    client_id = basic_id or form.get("client_id", "")
    secret = basic_secret or form.get("client_secret")
    if form.get("client_id", client_id) != client_id:
        raise OAuthError("invalid_request", "client_id differs from the Authorization header")
    client = await server.get_client(client_id) if client_id else None
    used = "client_secret_basic" if basic_secret else "client_secret_post" if secret else "none"
    expected = client and client.secret_digest
    # One comparison whatever was found, so that an unknown client takes no less time.
    matches = hmac.compare_digest(digest(Kind.CLIENT_SECRET, secret or ""), expected or bytes(32))
    if client is None or used != client.token_endpoint_auth_method:
        raise _invalid_client(request)
    if used != "none" and not matches:
        raise _invalid_client(request)
    return client


def _basic_credentials(request: Request) -> tuple[str, str]:
    """Return id and secret of the Authorization header: form-encoded before base64 (section 2.3.1)."""
    headers = request.headers.getlist("authorization")
    if not headers:
        return "", ""
    scheme, _, credentials = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "basic":
        raise _invalid_client(request)
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
        client_id, separator, secret = decoded.partition(":")
        if not separator:
            raise ValueError
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise _invalid_client(request) from None


def _invalid_client(request: Request) -> OAuthError:
    challenge = {"WWW-Authenticate": 'Basic realm="token", charset="UTF-8"'}
    return OAuthError(
        "invalid_client",
        "the client is unknown, or did not authenticate as it registered",
        status=401,
        headers=challenge if "authorization" in request.headers else None,
    )
