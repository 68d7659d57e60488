"""Advisory 0005: visitors whose proxy writes ports into `X-Forwarded-For` all shared one limit."""

from collections.abc import Callable

import httpx2
import pytest
from conftest import Live


@pytest.mark.parametrize(
    ("stranger", "visitor"),
    [
        ("198.51.100.9:50001", "203.0.113.7:50002"),
        ("[2001:db8:1::9]:50001", "[2001:db8:2::7]:50002"),
        ('"198.51.100.9:50001"', '"203.0.113.7"'),
    ],
    ids=["IPv4", "IPv6", "quoted"],
)
def test_one_visitor_does_not_use_up_the_limit_of_another(
    start: Callable[..., Live], stranger: str, visitor: str
) -> None:
    server = start(trusted_proxies="127.0.0.1,::1", limit_registrations_per_minute=2)
    body = {"redirect_uris": ["http://127.0.0.1:9/callback"], "token_endpoint_auth_method": "none"}

    def register(whose: str) -> httpx2.Response:
        with server.http(headers={"X-Forwarded-For": whose}) as http:
            return http.post("/register", json=body)

    assert 429 in [register(stranger).status_code for _ in range(10)]
    assert register(visitor).status_code == 201, "a stranger used up the limit of another visitor"
