"""Advisory 0012: a body that never arrived whole held its connection, and whatever read it, for ever."""

import contextlib

import pytest
from conftest import Live
from fuzz import send


def test_a_body_that_never_arrives_is_not_waited_for(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the limit was moved or another one set, it may take a minute.
    with contextlib.suppress(ImportError, AttributeError):
        monkeypatch.setattr("authserver.limits.BODY_SECONDS", 0)
    request = (
        f"POST /token HTTP/1.1\r\nHost: {live.url.partition('//')[2]}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nx="
    )
    answer = send(live, request.encode(), 70)
    assert answer is not None, "strangers hold as many connections as they like"
    assert answer.status == 408
