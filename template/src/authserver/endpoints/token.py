"""The token endpoint (RFC 6749 section 3.2)."""

import base64
import hashlib
import hmac
import re

from mcp.shared.auth import OAuthToken
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.audit import Event, audit
from authserver.endpoints.client_authentication import authenticate_client
from authserver.endpoints.errors import NO_STORE, OAuthError
from authserver.model.clients import RegisteredClient
from authserver.model.resource_indicators import names_resource
from authserver.provider import Provider
from authserver.requests.reading import Parameters, read_form

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


async def token(server: Provider, request: Request) -> Response:
    """Answer a token request; raises OAuthError and TokenError."""
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    grant_type = _required(form, "grant_type")
    exchange = _EXCHANGES.get(grant_type)
    if exchange is None:
        raise OAuthError("unsupported_grant_type", "use authorization_code or refresh_token")
    if grant_type not in client.grant_types:
        registered = ", ".join(client.grant_types)
        raise OAuthError("unauthorized_client", f"the client registered other grant types: {registered}")
    answer = await exchange(server, client, form)
    return JSONResponse(answer.model_dump(exclude_none=True), headers=NO_STORE)


async def _authorization_code(server: Provider, client: RegisteredClient, form: Parameters) -> OAuthToken:
    verifier = _required(form, "code_verifier")
    code = await server.load_authorization_code(client, _required(form, "code"))
    if code is None:
        raise OAuthError("invalid_grant", "the code is not valid (any more)")
    if code.client_id != client.client_id:
        audit(Event.CODE_OF_ANOTHER_CLIENT, client=client.client_id, owner=code.client_id)
        raise OAuthError("invalid_grant", "the code is not valid (any more)")
    # OAuth 2.1 took it out of this request, since PKCE binds the code; who follows RFC 6749 repeats it.
    if form.get("redirect_uri", code.exact_redirect_uri) != code.exact_redirect_uri:
        raise OAuthError("invalid_grant", "redirect_uri differs from the authorization request")
    if not _VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_request", "code_verifier must be 43 to 128 unreserved characters")
    if not hmac.compare_digest(s256(verifier), code.code_challenge):
        raise OAuthError("invalid_grant", "code_verifier does not match the code_challenge")
    _check_resource(form, code.resource)
    return await server.exchange_authorization_code(client, code)


async def _refresh_token(server: Provider, client: RegisteredClient, form: Parameters) -> OAuthToken:
    refresh_token = await server.load_refresh_token(client, _required(form, "refresh_token"))
    if refresh_token is None:
        raise OAuthError("invalid_grant", "the refresh token is not valid (any more)")
    if refresh_token.client_id != client.client_id:
        audit(
            Event.REFRESH_TOKEN_OF_ANOTHER_CLIENT,
            client=client.client_id,
            owner=refresh_token.client_id,
        )
        raise OAuthError("invalid_grant", "the refresh token is not valid (any more)")
    _check_resource(form, refresh_token.resource)
    # What is asked for beyond the grant is left out, as at authorization: nothing is ever added to it.
    scopes = server.scopes.narrowed(form.get("scope", "").split(), refresh_token.scopes)
    if not scopes:
        raise OAuthError("invalid_scope", "the refresh token holds none of these scopes")
    return await server.exchange_refresh_token(client, refresh_token, scopes)


_EXCHANGES = {"authorization_code": _authorization_code, "refresh_token": _refresh_token}


def s256(verifier: str) -> str:
    """Return the code challenge of a code verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _required(form: Parameters, name: str) -> str:
    value = form.get(name)
    if value is None:
        raise OAuthError("invalid_request", f"{name} is missing")
    return value


def _check_resource(form: Parameters, bound: str | None) -> None:
    """RFC 8707 section 2.2: what is asked for must be what was granted."""
    if not all(names_resource(asked, bound or "") for asked in form.resources):
        raise OAuthError("invalid_target", f"the grant is for another resource: {bound}")
