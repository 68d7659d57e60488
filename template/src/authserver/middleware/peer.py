"""Who is at the other end of the socket, whatever stands between the socket and the guard.

uvicorn's own command, `fastmcp run` and proxy middleware write what `X-Forwarded-For` says over
`scope["client"]`. Whose header counts is for AUTH_TRUSTED_PROXIES to say, so the socket's own word is taken
back; where it is lost, nobody is trusted.
"""

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from authserver.requests.addresses import same_address
from authserver.upstream import socket_peer

_log = structlog.get_logger("authserver")
_warned: set[str] = set()


def with_real_peer(scope: Scope, receive: Receive) -> Scope:
    """Return the scope of a request with the socket's peer as its client, None where that is lost.

    The answer of uvicorn's socket is certain. Other servers hide theirs: there, port 0 tells (no connection
    comes from it, and proxy middleware writes it), and so does an address that `X-Forwarded-For` names.
    """
    claimed = tuple(scope.get("client") or ()) or None
    known, peer = socket_peer(receive)
    if not known:
        peer = None if _comes_from_a_header(scope, claimed) else claimed
    if peer == claimed:
        return scope
    _warn(
        "the peer was overwritten by what X-Forwarded-For says; the socket counts, and AUTH_TRUSTED_PROXIES:"
        " start with `serve`, or without proxy headers"
        if known
        else "the peer was overwritten, or is named in X-Forwarded-For: nobody is trusted, and all such"
        " visitors count as one: start with `serve`, or without proxy middleware"
    )
    return {**scope, "client": peer}


def _comes_from_a_header(scope: Scope, claimed: tuple[str, int] | None) -> bool:
    if claimed is None:
        return False
    hops = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
    return not claimed[1] or any(same_address(hop.strip(), claimed[0]) for hop in hops)


def _warn(what: str) -> None:
    """Say so once: strangers must not fill the log."""
    if what not in _warned:
        _warned.add(what)
        _log.warning(what)
