"""Where a store lies: the URL of a server, and the connections that it asks for."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

from authserver import clock
from authserver.uris import check_authority

_OPTIONS = ("prefix", "db", "username", "password", "client_name")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class _Primary(AbstractConnection):
    """A connection that refuses a replica: it lags behind, and what was revoked still lives there."""

    made_at = 0.0

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("INFO", "replication", check_health=False)
        if b"role:master" not in await self.read_response():
            raise NoConnection("the server is a replica")
        self.made_at = clock.elapsed()


class _TCP(_Primary, Connection):
    """Over TCP."""


class _TLS(_Primary, SSLConnection):
    """Over TLS."""


class _Unix(_Primary, UnixDomainSocketConnection):
    """Over a Unix socket."""


_KINDS: dict[str, type[AbstractConnection]] = {"redis": _TCP, "rediss": _TLS, "unix": _Unix}


@dataclass(frozen=True, slots=True)
class Address:
    """The kind of connection, its options, and what the keys of the store begin with."""

    kind: type[AbstractConnection]
    options: dict[str, Any] = field(repr=False)
    prefix: str


def parse_address(url: str) -> Address:
    """Read the URL of a store; raises ValueError, whose text holds nothing of the URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        query = parse_qs(parts.query, keep_blank_values=True)
        options: dict[str, Any] = {**parse_url(url)}
    except ValueError:
        raise ValueError("it is no redis://, rediss:// or unix:// URL") from None
    unix = parts.scheme == "unix"
    if parts.fragment or not (unix or re.fullmatch(r"(/\d*)?", parts.path)):
        raise ValueError("after the host only the number of a database may follow")
    if not (parts.path if unix else parts.hostname):
        raise ValueError("it names no server")
    if not unix:
        check_authority(parts)
    unknown = [name for name in query if name not in _OPTIONS and not name.startswith("ssl_")]
    if unknown or any(len(values) > 1 for values in query.values()):
        raise ValueError(f"its options are {', '.join(_OPTIONS)} and ssl_..., each once")
    prefix = query.get("prefix", ["authserver:"])[0]
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("a prefix has 1 to 64 letters, digits, and . _ : -")
    for name in ("prefix", "connection_class"):
        options.pop(name, None)
    try:
        _KINDS[parts.scheme](**options)
    except (TypeError, ValueError, RedisError):
        raise ValueError("an option cannot be used here, or its value is wrong") from None
    return Address(_KINDS[parts.scheme], options, prefix)
