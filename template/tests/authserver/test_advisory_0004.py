"""Advisory 0004: a one-time link outlived `users disable`: it worked again after `users enable`."""

from collections.abc import Callable

import pytest
from conftest import Live, new_person
from operators import Operator
from person import Person

from authserver import choices

pytestmark = pytest.mark.skipif(
    choices.login.__name__.rpartition(".")[2] == "ldap", reason="a directory has the accounts: no links"
)


def test_disabling_an_account_ends_its_links(start: Callable[..., Live], operator: Operator) -> None:
    server = start()
    new_person(server, "alice")
    link = operator.types("users", "invite", "alice").strip().rpartition("/")[2]
    operator.types("users", "disable", "alice")
    operator.types("users", "enable", "alice")
    page = Person(server, "alice").get(f"{server.url}/invite/{link}")
    assert page.status_code == 410, "the link works again"
