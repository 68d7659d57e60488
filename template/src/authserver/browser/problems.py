"""Errors outside the OAuth protocol: a page that says what to do next for people, JSON for programs."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver import pages
from authserver.logs import refused
from authserver.pages.languages import language

_CODES = {
    403: "access_denied",
    404: "not_found",
    429: "temporarily_unavailable",
    503: "temporarily_unavailable",
}


class Refusal(Exception):
    """What was asked for cannot be had; `handling.endpoint` answers with the problem of this key.

    `wait` is in seconds: how long to wait before asking again.
    """

    def __init__(self, key: str, *, status: int, wait: float | None = None, **parameters: object) -> None:
        super().__init__(key)
        self._key = key
        self._status = status
        self._wait = wait
        self._parameters = parameters

    def answer(self, request: Request) -> Response:
        """Return the page or the JSON that says so."""
        return problem(request, self._key, status=self._status, wait=self._wait, **self._parameters)


def wants_page(request: Request) -> bool:
    """Say whether a browser asks, and not a program."""
    return "text/html" in request.headers.get("accept", "")


def problem(
    request: Request,
    key: str,
    *,
    status: int,
    wait: float | None = None,
    **parameters: Any,
) -> Response:
    """Return the error of that key (`message.<key>` of the strings), as a page or, in English, as JSON.

    The log has it in English, too.
    """
    description = language().t(f"message.{key}.text", **parameters)
    refused(description)
    if wants_page(request):
        return pages.message(request, key, status=status, wait=wait, **parameters)
    code = "server_error" if status == 500 else _CODES.get(status, "invalid_request")
    return JSONResponse(
        {"error": code, "error_description": description},
        status_code=status,
        headers={"Cache-Control": "no-store"} | pages.retry_after(wait),
    )
