"""Advisory 0009: a node whose machine was suspended never learned what had been revoked meanwhile."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Live, ended, new_person, sample
from fastmcp import FastMCP
from oauth_client import OAuthClient, alive, call
from operators import Operator

from authserver import choices

pytestmark = pytest.mark.skipif(
    not (choices.storage.__name__.endswith(".sqlite") and choices.tokens.__name__.endswith(".jwt")),
    reason="concerns tokens that are not looked up; of other stores no test can move the clock",
)


def test_a_node_that_slept_learns_what_was_revoked(
    start: Callable[..., Live], operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = threading.Event(), threading.Event()

    def build(settings: Any) -> FastMCP[Any]:
        mcp = sample(settings)

        @mcp.tool
        async def sleep() -> None:
            asleep.set()
            awake.wait(60)  # the whole process stands still

        return mcp

    server = start(build=build)
    token = OAuthClient(server).tokens(new_person(server, "alice"))["access_token"]
    assert alive(server, token)
    last = threading.Thread(target=call, args=(server, token), kwargs={"name": "sleep", "arguments": {}})
    last.start()
    assert asleep.wait(60)
    operator.types("users", "disable", "alice")
    # Two minutes go by. The clock that is never set stood still with the machine.
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 120)
    awake.set()
    last.join()
    assert ended(server, token), "a disabled user goes on until the token expires"
