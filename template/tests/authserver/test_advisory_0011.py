"""Advisory 0011: names that strangers chose could command the terminal of an operator who listed them."""

from collections.abc import Callable

import logins
from conftest import Live, new_person
from operators import Operator


def test_the_name_of_a_browser_does_nothing_on_a_terminal(
    start: Callable[..., Live], operator: Operator
) -> None:
    server = start()
    person = new_person(server, "alice")
    # The escapes that are one character: some HTTP servers refuse those below 32.
    person.browser.headers.update({b"User-Agent": b"Firefox\x9d0;owned\x9c\x9b2J"})
    person.browser.cookies.clear()
    logins.chosen().sign_in(person, person.get("/login"))
    printed = operator.types("users", "sessions", "alice")
    assert "Firefox" in printed
    assert all(line.isprintable() for line in printed.splitlines()), "the terminal obeys a stranger"
