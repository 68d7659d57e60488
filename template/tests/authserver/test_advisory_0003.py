"""Advisory 0003: whoever was invited before the first account was made could grant every scope."""

from collections.abc import Callable

import pytest
from conftest import Live
from operators import Operator
from person import Person

from authserver import choices

pytestmark = pytest.mark.skipif(
    choices.login.__name__.rpartition(".")[2] in ("ldap", "proxy"),
    reason="accounts come from elsewhere: no links",
)


def test_only_the_first_account_may_grant_everything(start: Callable[..., Live], operator: Operator) -> None:
    names = ("alice", "bob", "carol")
    links = {name: operator.types("users", "invite", name).strip().rpartition("/")[2] for name in names}
    server = start()
    for name in names:
        page = Person(server, name).join(f"{server.url}/invite/{links[name]}")
        assert page.status_code == 200, page.text
    scopes = {row["name"]: row["scopes"] for row in operator.rows("users", "list")}
    assert scopes["alice"] == "*"
    assert "*" not in (scopes["bob"], scopes["carol"]), "they may grant every scope, too"
