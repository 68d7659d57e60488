"""The revocation endpoint (RFC 7009)."""

from starlette.requests import Request
from starlette.responses import Response

from authserver.endpoints.client_authentication import authenticate_client
from authserver.endpoints.errors import NO_STORE, OAuthError
from authserver.provider import Provider
from authserver.requests.reading import read_form


async def revoke(server: Provider, request: Request) -> Response:
    """Revoke the grant of a token of this client; raises OAuthError.

    The answer is 200 for any token, unknown and foreign ones too (section 2.2). `token_type_hint` is only a
    hint: both kinds are looked for.
    """
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    value = form.get("token")
    if not value:
        raise OAuthError("invalid_request", "token is missing")
    token = await server.load_refresh_token(client, value) or await server.load_access_token(value)
    if token is not None and token.client_id == client.client_id:
        await server.revoke_token(token)
    return Response(status_code=200, headers=NO_STORE)
