"""The introspection endpoint (RFC 7662), for access tokens."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.endpoints.client_authentication import authenticate_client
from authserver.endpoints.errors import NO_STORE, OAuthError
from authserver.provider import Provider
from authserver.requests.reading import read_form


async def introspect(server: Provider, request: Request) -> Response:
    """Say what a token amounts to now; raises OAuthError.

    A client learns about its own tokens, and about others where the operator lets it (`clients add
    --introspect`). Whatever else it asks about is not active, be it unknown, dead or foreign (section 4).
    """
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    if client.secret_digest is None:
        raise OAuthError("invalid_client", "a client without a secret cannot ask", status=401)
    value = form.get("token")
    if not value:
        raise OAuthError("invalid_request", "token is missing")
    token = await server.verify_token(value)
    answer: dict[str, Any] = {"active": False}
    if token is not None and (client.introspects or token.client_id == client.client_id):
        answer = {
            "active": True,
            "token_type": "Bearer",
            "client_id": token.client_id,
            "scope": " ".join(token.scopes),
            "exp": token.expires_at,
            "aud": token.resource,
            "iss": server.issuer,
            "sub": token.subject,
            "username": token.claims["preferred_username"],
        }
    return JSONResponse(answer, headers=NO_STORE)
