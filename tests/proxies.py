"""Reverse proxies, run for real: nginx, Caddy and Traefik, each by a configuration as people write it."""

import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import trustme
from oauth_client import call
from person import Site

from authserver import limits

HOST = "mcp.example.com"

_PATH = f"{os.environ['PATH']}:/usr/sbin:{sysconfig.get_path('scripts')}"
PROXIES = {name: shutil.which(name, path=_PATH) for name in ("nginx", "caddy", "traefik")}
_NOBODY = "nobody" if os.geteuid() == 0 else None


def require(name: str) -> None:
    """Skip where a proxy is not installed; where CI is set, it has to be."""
    if PROXIES[name] is None and os.environ.get("CI") != "true":
        pytest.skip(f"{name} is not installed")


@contextmanager
def certified(files: Mapping[str, str]) -> Iterator[Path]:
    """Make a folder with these files and a certificate for the host, for nobody where we are root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = trustme.CA().issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "certificate.pem")
        for file, content in files.items():
            (folder / file).write_text(content)
        if _NOBODY:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, _NOBODY)
        yield folder


@contextmanager
def nginx(folder: Path, written: str, port: int) -> Iterator[None]:
    """Run nginx with these servers, in a folder that is its own."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off;\n{temporary}{written}}}\n"
    )
    program = PROXIES["nginx"] or "nginx"
    with _running([program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")], port):
        yield


@contextmanager
def caddy(folder: Path, written: str, port: int) -> Iterator[None]:
    """Run Caddy with these sites, which answer at the port for https."""
    options = f"admin off\nauto_https disable_redirects\nhttps_port {port}\nlog {{\nlevel ERROR\n}}"
    (folder / "Caddyfile").write_text(f"{{\n{options}\n}}\n{written}")
    program = PROXIES["caddy"] or "caddy"
    command = [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with _running(command, port, HOME=str(folder), XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder)):
        yield


@contextmanager
def traefik(folder: Path, written: str, port: int) -> Iterator[None]:
    """Run Traefik with its two files, which `---` parts: what it is started with, and what it routes."""
    started, routed = written.split("---\n")
    (folder / "traefik.yaml").write_text(started.replace("/etc/traefik/", f"{folder}/"))
    (folder / "mcp.yaml").write_text(routed)
    command = [PROXIES["traefik"] or "traefik", f"--configFile={folder}/traefik.yaml"]
    # As us: where it comes as a wheel, nobody else may get at it.
    with _running(command, port, user=None):
        while not _routes(port):
            time.sleep(0.05)
        yield


def _routes(port: int) -> bool:
    """Say whether Traefik has read what it routes: it listens first, without a certificate."""
    with httpx2.Client(verify=False) as client:
        try:
            answer = client.get(
                f"https://127.0.0.1:{port}/healthz",
                headers={"Host": HOST},
                extensions={"sni_hostname": HOST},
            )
        except httpx2.TransportError:
            return False
    return answer.status_code != 404


@contextmanager
def _running(command: list[str], port: int, user: str | None = _NOBODY, **environment: str) -> Iterator[None]:
    with subprocess.Popen(command, user=user, env=os.environ | environment) as process:
        try:
            _wait_for(port, process)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    while True:
        assert process.poll() is None, "the proxy did not start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def calls_at_length(site: Site, access_token: str) -> httpx2.Response:
    """Call a tool with as long a body as the server takes: what is left of it is white space."""
    long = " " * (limits.MAXIMUM_MCP_BODY_BYTES - 1000)
    return call(site, access_token, name="list_notes", arguments={}, _meta={"long": long})


def lead(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let the public name lead to a port of this machine."""
    connect = socket.create_connection

    def create_connection(address: tuple[str, int], *rest: object, **more: object) -> socket.socket:
        return connect(("127.0.0.1", port) if address == (HOST, 443) else address, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", create_connection)
