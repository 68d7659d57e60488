"""Who is at the other end of the socket, under servers that do not let us look at it."""

from typing import Any

import pytest
import structlog

from authserver.middleware import peer


@pytest.fixture(autouse=True)
def _nothing_warned() -> None:
    peer._warned.clear()


async def receive() -> Any:
    raise AssertionError


def scope(client: Any, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"type": "http", "client": client, "headers": headers}


@pytest.mark.parametrize(
    "claimed",
    [
        scope(("10.0.0.1", 0)),
        scope(("10.0.0.1", 0), "10.0.0.1"),
        scope(("10.0.0.1", 5000), "10.0.0.1:5000"),
        scope(("10.0.0.1", 5000), "198.51.100.9, 10.0.0.1"),
        scope(("10.0.0.1", 5000), "10.0.0.1", "198.51.100.9"),
        scope(("::ffff:10.0.0.1", 5000), "10.0.0.1"),
        scope(["2001:db8::1", 5000], '"[2001:db8:0::1]:443"'),
    ],
    ids=str,
)
def test_where_the_socket_is_hidden_what_may_be_forged_is_nobody(claimed: dict[str, Any]) -> None:
    """Attack 11d, 22: a server hands on what a header says of its sender. Source: RFC 7239 8.1, CWE-348."""
    with structlog.testing.capture_logs() as logged:
        assert peer.with_real_peer(claimed, receive)["client"] is None
        peer.with_real_peer(claimed, receive)
    [warning] = logged
    assert "nobody is trusted" in warning["event"]


@pytest.mark.parametrize(
    "claimed",
    [
        scope(None),
        scope(None, "10.0.0.1"),
        scope(("10.0.0.1", 5000)),
        scope(("10.0.0.1", 5000), "198.51.100.9"),
        scope(("10.0.0.1", 5000), "198.51.100.9, 10.0.0.10", ""),
        scope(("unix", 5000), "unknown"),
    ],
    ids=str,
)
def test_a_peer_that_no_header_names_is_the_peer(claimed: dict[str, Any]) -> None:
    with structlog.testing.capture_logs() as logged:
        assert peer.with_real_peer(claimed, receive) is claimed
    assert logged == []
