"""Python imports this at its start: from then on only loopback can be reached, and each attempt is noted."""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any


def _is_near(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        address = ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path is a socket of this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if not _is_near(host):
        with Path(os.environ["OUTBOUND_LOG"]).open("a", encoding="utf-8") as file:
            file.write(f"{event} {host!r}\n")
        raise PermissionError(f"no connections to {host!r}")


sys.addaudithook(_watch)
with Path(os.environ["OUTBOUND_LOG"]).open("a", encoding="utf-8") as log:
    log.write("watching\n")
