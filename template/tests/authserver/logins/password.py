"""With user name and password."""

from functools import partial
from typing import TYPE_CHECKING

import httpx2
from argon2 import PasswordHasher

from authserver.login.password import passwords

if TYPE_CHECKING:
    from person import Person

# Argon2 is slow on purpose: what it is asked is tested, how slow it is is not.
vars(passwords).update(PasswordHasher=partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1))


class PasswordWay:
    """The Way protocol with two forms."""

    def settings(self) -> dict[str, str]:
        """Return nothing: there is nothing to set."""
        return {}

    def join(self, person: "Person", link: str) -> httpx2.Response:
        """Choose the password."""
        again = {"password_again": person.password}
        page = person.get(link)
        return person.submit(page, "password", username=person.name, password=person.password, **again)

    def asks(self, page: httpx2.Response) -> bool:
        """Look for the field."""
        return "current-password" in page.text

    def sign_in(self, person: "Person", page: httpx2.Response) -> httpx2.Response:
        """Fill the form."""
        return person.submit(page, "password", username=person.name, password=person.password)


WAY = PasswordWay()
