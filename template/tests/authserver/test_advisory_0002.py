"""Advisory 0002: a slash too many was redirected to http, and what was posted went there in clear."""

from collections.abc import Callable

import pytest
from conftest import Live

PUBLIC = "https://mcp.example.com"


@pytest.mark.parametrize("path", ["/token/", "/register/", "/revoke/", "/authorize/", "/login/", "/account/"])
def test_nothing_is_redirected_to_http(start: Callable[..., Live], path: str) -> None:
    """TLS ends at a proxy: what reaches this server is http, and its public address is https."""
    server = start(public_url=PUBLIC)
    with server.http(headers={"Host": "mcp.example.com", "Origin": PUBLIC}) as http:
        for method in ("GET", "POST"):
            location = http.request(method, path).headers.get("location", "")
            assert not location.startswith("http://"), "to where nothing is encrypted"
