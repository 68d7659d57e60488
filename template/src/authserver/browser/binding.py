"""Which browser began an authorization request: only that one may go on with it."""

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits
from authserver.browser.cookies import delete_cookie, get_cookie, is_sealed, seal, set_cookie
from authserver.crypto.secret_values import Kind, digest
from authserver.provider import Provider

_DIRECT, _LED = "direct request", "request"


def _request_cookie(request_id: str) -> str:
    # One cookie for each request: two tabs do not hurt each other.
    return "request-" + digest(Kind.AUTHORIZATION_REQUEST, request_id).hex()[:16]


def bind_request(server: Provider, response: Response, request_id: str, *, direct: bool) -> None:
    """Bind an authorization request to the browser that gets this response, and how it came here."""
    sealed = seal(server, _DIRECT if direct else _LED, request_id)
    set_cookie(server, response, _request_cookie(request_id), sealed, limits.AUTHORIZATION_REQUEST_SECONDS)


def is_bound(server: Provider, request: Request, request_id: str) -> bool:
    """Say whether this browser began the authorization request."""
    return any(_is_bound(server, request, how, request_id) for how in (_DIRECT, _LED))


def is_direct(server: Provider, request: Request, request_id: str) -> bool:
    """Say whether this browser began the authorization request, and no web page elsewhere led it here."""
    return _is_bound(server, request, _DIRECT, request_id)


def _is_bound(server: Provider, request: Request, how: str, request_id: str) -> bool:
    return is_sealed(server, get_cookie(server, request, _request_cookie(request_id)), how, request_id)


def unbind_request(server: Provider, response: Response, request_id: str) -> None:
    """Forget the binding: the request is finished."""
    delete_cookie(server, response, _request_cookie(request_id))
