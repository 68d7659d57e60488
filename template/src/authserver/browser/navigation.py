"""Whether a person opened a page. Whatever else a page elsewhere makes a browser send may do nothing."""

from starlette.requests import Request

_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")


def is_navigation(request: Request) -> bool:
    """Say whether a browser shows the answer in a window of its own; programs that do not say are believed.

    Any page elsewhere can load an address as an image, in a frame or by a script, without its visitor knowing
    (Fetch Metadata section 2.2, 2.3); and browsers fetch what nobody asked for yet (Sec-Purpose).
    """
    headers = request.headers
    return (
        request.method != "HEAD"
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
        and not any(purpose in headers for purpose in _PURPOSES)
    )
