"""With a header, as a proxy at 127.0.0.1 would set it."""

import re
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from person import Person


class ProxyWay:
    """The Way protocol with a browser that is its own proxy."""

    def settings(self) -> dict[str, str]:
        """Trust the browser."""
        return {"proxy_peers": "127.0.0.1"}

    def join(self, person: "Person", link: str) -> httpx2.Response:
        """Come: the first visit makes the account."""
        person.browser.headers["Remote-User"] = person.name
        return person.get("/login")

    def asks(self, page: httpx2.Response) -> bool:
        """Look for the page that nobody was named to."""
        return page.status_code == 403 and page.url.path == "/login"

    def sign_in(self, person: "Person", page: httpx2.Response) -> httpx2.Response:
        """Be named, and load the page again, or the one to which it leads."""
        person.browser.headers["Remote-User"] = person.name
        onward = re.search(r'href="(/login\?[^"]+)"', page.text)
        return person.get(onward[1] if onward else str(page.url))


WAY = ProxyWay()
