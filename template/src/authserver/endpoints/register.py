"""Dynamic client registration (RFC 7591)."""

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver import clock
from authserver.audit import Event, audit
from authserver.crypto import secret_values
from authserver.crypto.counters import network_buckets
from authserver.crypto.secret_values import Kind, digest
from authserver.endpoints.errors import NO_STORE, OAuthError, too_many_requests
from authserver.model.clients import RegisteredClient, parse_registration
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.requests.reading import read_json


async def register(server: Provider, request: Request) -> Response:
    """Register a client and tell it what was registered; raises OAuthError and RegistrationError."""
    address = client_address(request, server.settings)
    body = await read_json(request)
    await _limit(server, address)
    metadata = parse_registration(body, server.settings.redirect_schemes, server.scopes)
    client, secret = new_client(server, metadata, address=address)
    await server.register_client(client)
    answer: dict[str, Any] = client.model_dump(mode="json", exclude_none=True) | {
        "redirect_uris": client.exact_redirect_uris,
        "client_id_issued_at": int(clock.now()),
    }
    if secret is not None:
        # RFC 7591 section 3.2.1: 0 says that it never expires.
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    asked = body["redirect_uris"]
    if len(client.exact_redirect_uris) < len(set(asked)):
        audit(Event.REDIRECT_URIS_DROPPED, client=client.client_id, count=len(set(asked)))
    return JSONResponse(answer, status_code=201, headers=NO_STORE)


def new_client(
    server: Provider,
    metadata: dict[str, Any],
    *,
    address: str,
    operated: bool = False,
    introspects: bool = False,
) -> tuple[RegisteredClient, str | None]:
    """Return a new client with checked metadata, and its secret, told once."""
    confidential = metadata["token_endpoint_auth_method"] != "none"  # noqa: S105
    secret = secret_values.new(Kind.CLIENT_SECRET) if confidential else None
    client = RegisteredClient(
        **metadata,
        client_id=str(uuid.uuid4()),
        exact_redirect_uris=metadata["redirect_uris"],
        secret_digest=None if secret is None else digest(Kind.CLIENT_SECRET, secret),
        address=address,
        approved=operated or server.settings.registration == "open",
        operated=operated,
        introspects=introspects,
    )
    return client, secret


async def _limit(server: Provider, address: str) -> None:
    limit = server.settings.limit_registrations_per_minute
    counted = network_buckets(server.keys.names, "registrations", address, per_minute=limit)
    wait = await server.storage.sign_ins.take_attempt(counted)
    if wait > 0:
        raise too_many_requests(wait, "AUTH_LIMIT_REGISTRATIONS_PER_MINUTE")


async def refuse(server: Provider, request: Request) -> Response:
    """Refuse: with AUTH_REGISTRATION=static, only the operator adds clients."""
    raise OAuthError(
        "access_denied", "only the operator of this server registers clients (AUTH_REGISTRATION)", status=403
    )
