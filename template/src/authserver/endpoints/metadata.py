"""What clients discover: authorization server (RFC 8414) and protected resource metadata (RFC 9728).

Addresses are written out as strings, since the SDK's models add a slash to an issuer without a path, and
clients compare the issuer letter by letter (RFC 9207 section 2.4).
"""

from typing import Any

from starlette.responses import JSONResponse, Response

from authserver import limits
from authserver.model.clients import AUTH_METHODS, GRANT_TYPES
from authserver.provider import Provider

_HEADERS = {"Cache-Control": f"public, max-age={limits.METADATA_SECONDS}"}


def authorization_server(server: Provider) -> Response:
    """Return authorization server metadata, which does not change while the server runs."""
    issuer = server.issuer
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": [
            method for method in AUTH_METHODS if method != "none"
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": False,
        **server.tokens.metadata,
    }
    if server.settings.registration != "static":
        document["registration_endpoint"] = f"{issuer}/register"
    if server.settings.announce_scopes:
        document["scopes_supported"] = server.scopes.names
    return JSONResponse(document, headers=_HEADERS)


def protected_resource(server: Provider, *, ending: str = "") -> Response:
    """Return protected resource metadata: the least scopes, tools ask for more when they need it.

    `ending` is what was typed behind the address of the resource: clients compare it letter by letter.
    """
    document: dict[str, Any] = {
        "resource": server.resource + ending,
        "authorization_servers": [server.issuer],
        "bearer_methods_supported": ["header"],
    }
    if server.settings.announce_scopes:
        document["scopes_supported"] = server.scopes_supported
    return JSONResponse(document, headers=_HEADERS)
