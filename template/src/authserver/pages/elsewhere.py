"""Another page in place of the one that was asked for: it is raised, never returned beside an answer."""

from starlette.responses import RedirectResponse, Response


class Elsewhere(Exception):
    """The browser goes on with this response; `handling.endpoint` sends it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def see_other(address: str) -> Response:
    """Return a redirect that turns a post into a GET, and that nobody keeps (RFC 9110 section 15.4.4)."""
    return RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})
