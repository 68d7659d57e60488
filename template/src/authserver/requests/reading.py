"""Reading what a request sends, strictly: parameters once, valid UTF-8, no NUL, bounded."""

from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from authserver import limits
from authserver.requests import strict_json


class BadRequest(Exception):
    """The request cannot be read. The text says why, and holds nothing of the request."""

    def __init__(self, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.description = description
        self.status = status


class Parameters(dict[str, str]):
    """The parameters of a query or form, each with its one value.

    Those without a value are left out (RFC 6749 sections 3.1 and 3.2). So are those that stand several times:
    `repeated` has their names. Only `resource` may (RFC 8707 section 2): `resources` has its values.
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        given = [(name, value) for name, value in pairs if value]
        self.resources = tuple(value for name, value in given if name == "resource")
        counted = Counter(name for name, _ in given if name != "resource")
        self.repeated = frozenset(name for name, count in counted.items() if count > 1)
        super().__init__((name, value) for name, value in given if counted[name] == 1)


def header(scope: Scope, name: bytes) -> list[str]:
    """Return what a request says in the headers of that name, which is in small letters, as ASGI has them."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


async def read_body(request: Request, *, maximum: int | None = None) -> bytes:
    """Return the body; raises BadRequest, 413 beyond `maximum` bytes (else `limits.MAXIMUM_BODY_BYTES`)."""
    maximum = maximum or limits.MAXIMUM_BODY_BYTES
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > maximum:
                raise BadRequest(f"the body is larger than {maximum // 1024} KiB", status=413)
    except ClientDisconnect:
        raise BadRequest("the body did not arrive") from None
    return bytes(body)


async def read_form(request: Request) -> Parameters:
    """Return the fields of a form post (RFC 6749 appendix B); raises BadRequest."""
    form = await read_parameters(request)
    if form.repeated:
        raise BadRequest("a parameter is repeated")
    return form


async def read_parameters(request: Request) -> Parameters:
    """Do the same, and leave it to the caller to refuse what is repeated."""
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
        return strict_json.loads(await read_body(request))
    except ValueError:
        raise BadRequest("the body is not JSON in which each name stands once") from None


def parse_parameters(data: bytes) -> Parameters:
    """Return parameters of a query or form.

    Raises BadRequest where one is not UTF-8 or holds a NUL, or there are too many.
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
    if any("\0" in text for pair in pairs for text in pair):
        raise BadRequest("a parameter holds a NUL character")
    return Parameters(pairs)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
