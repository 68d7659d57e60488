"""Reading what a request sends, strictly: parameters once, valid UTF-8, no NUL, bounded."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from authserver import limits


class BadRequest(Exception):
    """The request cannot be read. The text says why, and holds nothing of the request."""

    def __init__(self, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.description = description
        self.status = status


async def read_body(request: Request) -> bytes:
    """Return the body; raises BadRequest (413) beyond `limits.MAXIMUM_BODY_BYTES`."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.MAXIMUM_BODY_BYTES:
                kibibytes = limits.MAXIMUM_BODY_BYTES // 1024
                raise BadRequest(f"the body is larger than {kibibytes} KiB", status=413)
    except ClientDisconnect:
        raise BadRequest("the body did not arrive") from None
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form post (RFC 6749 appendix B); raises BadRequest."""
    if request.scope["query_string"]:
        # RFC 6749 section 2.3.1: addresses are logged, and nothing may come from two places.
        raise BadRequest("parameters belong in the body")
    if _content_type(request) != "application/x-www-form-urlencoded":
        raise BadRequest("the content type must be application/x-www-form-urlencoded")
    return parse_parameters(await read_body(request))


async def read_json(request: Request) -> Any:
    """Return the JSON value of the body; raises BadRequest."""
    if _content_type(request) != "application/json":
        raise BadRequest("the content type must be application/json")
    try:
        value = json.loads(await read_body(request))
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    return value


def parse_parameters(data: bytes) -> dict[str, str]:
    """Return parameters of a query or form.

    Raises BadRequest where one is repeated (RFC 6749 section 3.1), is not UTF-8, or holds a NUL.
    """
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=limits.MAXIMUM_FIELDS,
        )
    except ValueError:
        raise BadRequest("the parameters are not valid UTF-8, or too many") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise BadRequest("a parameter is repeated")
    if any("\0" in text for pair in pairs for text in pair):
        raise BadRequest("a parameter holds a NUL character")
    return parameters


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
