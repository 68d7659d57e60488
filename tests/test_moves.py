"""From one storage to the next and back, by `backup` and `restore`: nobody has to sign in again."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import effort
from conftest import Rendered
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person
from rendering import DEFAULTS, choices
from servers import Server

SECRET_KEY = "one key, which moves along with the data"


@effort.push
def test_a_live_client_moves_through_all_storages_and_back(
    rendered: Rendered,
    running_engines: Callable[[str], Engine],
    tmp_path: Path,
) -> None:
    first, *others = choices("storage")

    def server(storage: str, port: int | None = None) -> Server:
        store = running_engines(storage).settings(uuid4().hex) | {"secret_key": SECRET_KEY}
        return Server(rendered(DEFAULTS | {"storage": storage}), store, port)

    here = server(first)
    with here.running():
        owner = Person(here, "owner")
        assert owner.join(here.first_account_link).status_code == 200
        client = OAuthClient(here, token_endpoint_auth_method="client_secret_basic")
        tokens = client.tokens(owner)
    for number, storage in enumerate([*others, first]):
        file = str(tmp_path / f"backup-{number}")
        here.command("backup", file)
        here = server(storage, here.port)
        assert "records restored" in here.command("restore", file)
        with here.running():
            assert alive(here, tokens["access_token"])
            assert owner.get("/account").url.path == "/account"  # still signed in
            tokens = client.refresh(tokens["refresh_token"]).json()
            assert alive(here, tokens["access_token"])
