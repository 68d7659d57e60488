"""Advisory 0007: what was begun with an account before its access was ended could be finished later."""

import re
from collections.abc import Callable

import logins
import pytest
from conftest import Live, new_person
from operators import Operator
from person import Person

from authserver import choices

pyotp = pytest.importorskip("pyotp", reason="this login has no halves")
pytestmark = pytest.mark.skipif(
    choices.login.__name__.rpartition(".")[2] in ("passkey", "proxy"), reason="this login has no halves"
)


def test_half_a_sign_in_ends_with_the_access_of_the_account(
    start: Callable[..., Live], operator: Operator
) -> None:
    """The thief knows the password, and has got as far as the page that asks for a second factor."""
    new_person(start(), "alice")
    server = start(second_factor="required")
    thief = Person(server, "alice")
    page = thief.sign_in(thief.get("/login"))
    [seed] = re.findall(r"<code[^>]*>([A-Z2-7 ]{32,})</code>", page.text)

    operator.types("users", "sign-out", "alice")

    thief.submit(page, "seed", code=pyotp.TOTP(seed.replace(" ", "")).now())
    signed_in = not logins.chosen().asks(thief.get("/account"))
    assert not signed_in, "signed in, with a second factor of the thief's own"


def test_a_known_browser_is_unknown_after_the_access_was_ended(
    start: Callable[..., Live], operator: Operator
) -> None:
    """The thief has what the owner's browser had, and goes on to guess where others have to wait."""
    server = start()
    stolen = dict(new_person(server, "alice").browser.cookies)
    operator.types("users", "sign-out", "alice")

    def guess(**cookies: str) -> int:
        stranger = Person(server, "alice", password="wrong horse battery staple")
        stranger.browser.cookies.update(cookies)
        return stranger.sign_in(stranger.get("/login")).status_code

    assert 429 in [guess() for _ in range(10)]
    assert guess(**stolen) == 429, "known for half a year, whatever was done"
