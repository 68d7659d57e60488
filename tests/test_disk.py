"""Trouble with the disk: full, read-only. 503 while it lasts, then all goes on, without a restart."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import effort
import pytest
from oauth_client import OAuthClient, alive
from person import Person
from servers import Server

_SIZE = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("mounting a small disk takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@effort.push
def test_a_full_disk_is_503_and_loses_nothing(default_project: Path, small_disk: Path) -> None:
    """Attack 18: fill the disk. Source: clients drop their credentials on any other error than 503."""
    server = Server(default_project, {"data_dir": str(small_disk / "data")})
    with server.running():
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        client = OAuthClient(server)
        tokens = client.tokens(owner)
        code = client.code(owner)

        ballast = small_disk / "ballast"
        while client.http.get("/readyz").status_code == 200:
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
        assert_unavailable(client, code, tokens)
        # Reading needs no room: who is signed in goes on.
        assert alive(server, tokens["access_token"])
        ballast.unlink()
        assert_well(client, code, tokens)


def assert_unavailable(client: OAuthClient, code: str, tokens: dict[str, Any]) -> None:
    for answer in (
        client.redeem(code),
        client.refresh(tokens["refresh_token"]),
        client.post("/revoke", token=tokens["access_token"]),
        client.http.get("/readyz"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def assert_well(client: OAuthClient, code: str, tokens: dict[str, Any]) -> None:
    """All goes on as if nothing had been."""
    while client.http.get("/readyz").status_code != 200:  # what was found a moment ago is said for a second
        time.sleep(0.1)
    answer = client.refresh(tokens["refresh_token"])
    assert answer.status_code == 200
    assert alive(client.server, answer.json()["access_token"])
    assert client.redeem(code).status_code == 200
