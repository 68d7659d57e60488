"""Advisory 0006: under uvicorn's own command, `X-Forwarded-For` passed for the peer, whoever wrote it."""

from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from conftest import Live

from authserver import choices

_BY_PROXY = choices.login.__name__.rpartition(".")[2] == "proxy"


class AsItsCommandDoes(uvicorn.Config):
    """uvicorn with proxy headers, as its own command and `fastmcp run` have them."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options | {"proxy_headers": True})


@pytest.fixture(autouse=True)
def _by_uvicorns_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.Config", AsItsCommandDoes)


def test_a_forged_address_escapes_no_limit(start: Callable[..., Live]) -> None:
    server = start(limit_registrations_per_minute=2)
    body = {"redirect_uris": ["http://127.0.0.1:9/callback"], "token_endpoint_auth_method": "none"}
    answers = []
    for number in range(10):
        with server.http(headers={"X-Forwarded-For": f"198.51.100.{number}"}) as http:
            answers.append(http.post("/register", json=body).status_code)
    assert 429 in answers, "another forged address with each request is no limit at all"


@pytest.mark.skipif(not _BY_PROXY, reason="no proxy names people here")
def test_nobody_signs_in_by_the_forged_address_of_the_proxy(start: Callable[..., Live]) -> None:
    server = start(proxy_peers="192.0.2.10")
    forged = {"Accept": "text/html", "Remote-User": "mallory", "X-Forwarded-For": "192.0.2.10"}
    with server.http(headers=forged) as http:
        answer = http.get("/login")
    assert "set-cookie" not in answer.headers, "signed in by two headers that anybody can send"
    assert answer.status_code == 403
