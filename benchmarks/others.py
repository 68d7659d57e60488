"""What a user would pick instead, from npm and PyPI."""

import base64
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator

from load import FORM, HERE, JSON, Ask, Refresh
from started import Running, Works, peer

PEERS = HERE / "peers"
CLIENT = json.dumps(
    {
        "redirect_uris": ["http://127.0.0.1:33418/callback"],
        "application_type": "native",
        "client_name": "Benchmark",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
)

_PYTHON = PEERS / ".venv" / "bin"
_PYTHON_PACKAGES = ("django-oauth-toolkit==3.4.1", "gunicorn>=23", "py-spy==0.4.3")
# In folders of their own: better-auth wants other versions of what the others use, too.
_NODE_FOLDERS = {PEERS: "oidc-provider", PEERS / "better-auth": "better-auth"}
PROFILER = _PYTHON / "py-spy"


def oidc(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start oidc-provider."""
    port, pid, found = peer(stack, ["node", str(PEERS / "oidc.mjs")], seeds)
    basic = base64.b64encode(f"rs:{found['secret'].replace(' ', '+')}".encode()).decode()
    discovery = Ask("/.well-known/openid-configuration", '"issuer"')
    works: Works = {
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask(
            "/token/introspection",
            '"active":true',
            f"token={found['access']}",
            {"Content-Type": FORM, "Authorization": f"Basic {basic}"},
        ),
        "registration": Ask("/reg", '"client_id"', CLIENT, {"Content-Type": JSON}),
        "metadata": discovery,
        "JWKS": discovery if work == "JWKS" else Ask("/jwks", '"keys"'),
    }
    return Running("oidc-provider, in memory", port, pid, works)


def oidc_keys(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start oidc-provider, to ask it for its keys."""
    running = oidc(stack, "", seeds)
    return Running("oidc-provider's keys, in memory", running.port, running.pid, running.works)


def cloudflare(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start Cloudflare's provider."""
    port, pid, found = peer(stack, ["node", str(PEERS / "cloudflare.mjs")], seeds)
    works: Works = {
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "registration": Ask("/register", '"client_id"', CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/.well-known/oauth-authorization-server", '"issuer"'),
    }
    return Running("Cloudflare, in memory", port, pid, works)


def better_auth(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start better-auth with its OAuth provider."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    words = ["node", str(PEERS / "better-auth" / "server.mjs")]
    port, pid, found = peer(stack, words, seeds, DATABASE=f"{folder}/better-auth.sqlite")
    works: Works = {
        "refresh": Refresh("/api/auth/oauth2/token", f"&client_id={found['client']}", found["refresh"]),
        "registration": Ask("/api/auth/oauth2/register", '"client_id"', CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/api/auth/.well-known/oauth-authorization-server", '"issuer"'),
    }
    return Running("better-auth, SQLite", port, pid, works)


def django(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start django-oauth-toolkit."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    words = [str(_PYTHON / "python"), str(PEERS / "django_toolkit.py")]
    port, pid, found = peer(stack, words, seeds, DATABASE=f"{folder}/django.sqlite")
    bearer = {"Content-Type": FORM, "Authorization": f"Bearer {found['access']}"}
    works: Works = {
        "refresh": Refresh("/o/token/", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask("/o/introspect/", '"active": true', f"token={found['access']}", bearer),
    }
    return Running("django-oauth-toolkit, SQLite", port, pid, works)


def prepare() -> None:
    """Install the peers, in the versions that are written down; nothing happens where they are."""
    for folder, package in _NODE_FOLDERS.items():
        if not (folder / "node_modules" / package).exists():
            words = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps"]
            subprocess.run(words, cwd=folder, check=True)
    if not PROFILER.exists():
        subprocess.run(["uv", "venv", "--quiet", "--clear", str(PEERS / ".venv")], check=True)
        words = ["uv", "pip", "install", "--quiet", "--python", str(PEERS / ".venv")]
        subprocess.run([*words, *_PYTHON_PACKAGES], check=True)


def versions() -> Iterator[str]:
    """Yield the peers with their versions."""
    for folder in _NODE_FOLDERS:
        described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        yield from (f"{name} {number}" for name, number in described["dependencies"].items())
    yield _PYTHON_PACKAGES[0].replace("==", " ")
