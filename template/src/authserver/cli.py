"""The command: `serve`, and what an operator does with users, clients and grants."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import uvicorn
from cyclopts import App, Parameter
from mcp.server.auth.provider import RegistrationError

from authserver import backup, choices, guard, logs, secret_values
from authserver.browser.apps import disconnect
from authserver.browser.devices import describe
from authserver.clients import AUTH_METHODS, parse_registration, resource_server
from authserver.configuration import Settings, load_settings
from authserver.doctor.advisories import AdvisoryError, judge, read_advisory
from authserver.doctor.manifest import compare, load_manifest, this_project
from authserver.doctor.state import examine
from authserver.endpoints.register import new_client
from authserver.keys import check_value, store_check_value, verify_key
from authserver.login import USER_NAME
from authserver.provider import AuthorizationServer
from authserver.records import User
from authserver.scopes import ALL
from authserver.secret_values import Kind, digest
from authserver.settings import SettingsError
from authserver.storage import NotEmpty, Storage, StorageUnavailable

INVITATION_SECONDS = 3600

app = App(name=Path(sys.argv[0]).name, help="Run the server, and manage its users, clients and grants.")
users = app.command(App(name="users", help="The people who may sign in."))
clients = app.command(App(name="clients", help="The apps that are registered."))
grants = app.command(App(name="grants", help="Which app acts for whom."))
keys = app.command(App(name="keys", help="The keys that sign tokens, and the key that seals them."))

Json = Annotated[bool, Parameter(name="--json", help="Print JSON, one object a line.")]


class CommandError(Exception):
    """What the operator asked for cannot be done; the text says why."""


def main() -> None:
    """Run the command; a mistake is one line on standard error and exit code 1."""
    logs.configure()
    try:
        app(sys.argv[1:])
    except (SettingsError, StorageUnavailable, CommandError, AdvisoryError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


@asynccontextmanager
async def _opened() -> AsyncIterator[AuthorizationServer]:
    from app.server import mcp  # noqa: PLC0415  # the user's module: imported when a command needs it

    server = mcp.auth
    if not isinstance(server, AuthorizationServer):
        raise CommandError("app/server.py must set auth=AuthorizationServer(...)")
    await server.open()
    try:
        yield server
    finally:
        await server.close()


# --------------------------------------------------------------------------------------------- serve


@app.default
@app.command
def serve(*, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Start the server.

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port to listen on.
    workers
        How many processes answer requests.
    """
    settings = load_settings()
    _check_port(settings, port)
    asyncio.run(_prepare())
    uvicorn.run(
        "authserver.asgi:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        # uvicorn believes a forged X-Forwarded-For of any local peer; `addresses.py` reads it instead.
        proxy_headers=False,
        # Our own request log names routes, and holds no query and no one-time link.
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=10,
    )


def _check_port(settings: Settings, port: int) -> None:
    """Refuse another port than that of a loopback public URL, which is the address itself."""
    url = urlsplit(settings.public_url)
    if url.scheme == "http" and (url.port or 80) != port:
        example = re.sub(r"(:[0-9]+)?$", f":{port}", settings.public_url, count=1)
        raise SettingsError(
            f"AUTH_PUBLIC_URL: it says {settings.public_url}, but the server is to listen on port {port}."
            f" Example: AUTH_PUBLIC_URL={example}"
        )


async def _prepare() -> None:
    """Make schema and keys before any worker starts, and the link for the first account."""
    async with _opened() as server:
        print(f"Serving {server.resource}", flush=True)
        if await server.storage.list_users():
            return
        if server.login.accounts_elsewhere:
            print(f"No account yet. {server.login.accounts_elsewhere}", flush=True)
            return
        if not sys.stdout.isatty():
            # A log keeps what it is given: the link would lie there for whoever reads it.
            print(f"No account yet. Run: {Path(sys.argv[0]).name} users invite NAME", flush=True)
            return
        link = await _invite(server, None, [ALL])
        print(f"No account yet. Create the first one here, within an hour:\n\n  {link}\n", flush=True)


async def _invite(server: AuthorizationServer, name: str | None, scopes: list[str] | None) -> str | None:
    token = secret_values.new(Kind.INVITATION)
    stored = await server.storage.add_invitation(
        digest(Kind.INVITATION, token), name, scopes=scopes, lifetime_seconds=INVITATION_SECONDS
    )
    return f"{server.issuer}/invite/{token}" if stored else None


# --------------------------------------------------------------------------------------------- users


@users.command
async def invite(name: str, /) -> None:
    """Print a one-time link: it makes an account of that name, or recovers it. Good for an hour."""
    if not USER_NAME.fullmatch(name):
        raise CommandError("a name has 1 to 64 letters, digits, and . _ @ + -")
    async with _opened() as server:
        if server.login.accounts_elsewhere:
            raise CommandError(server.login.accounts_elsewhere)
        # The first account is the operator's own: it may grant every scope.
        first = not await server.storage.list_users()
        print(await _invite(server, name, [ALL] if first else None))


@users.command(name="list")
async def list_users(*, as_json: Json = False) -> None:
    """List the users."""
    async with _opened() as server:
        rows = [
            {
                "name": user.name,
                "scopes": "(default)" if user.scopes is None else " ".join(user.scopes),
                "created_at": _time(user.created_at),
                "disabled_at": _time(user.disabled_at),
                "disabled_by": user.disabled_by,
                "subject": user.subject,
            }
            for user in await server.storage.list_users()
        ]
    _print_rows(rows, as_json=as_json)


@users.command(name="scopes")
async def set_scopes(name: str, /, *scopes: str) -> None:
    """Set the scopes that a user may grant: none for the default ones, '*' for all."""
    async with _opened() as server:
        if unknown := set(scopes) - {ALL, *server.scopes.names}:
            raise CommandError(
                f"no such scope: {' '.join(sorted(unknown))}. There are: {' '.join(server.scopes.names)}"
            )
        _found(await server.storage.set_user_scopes(name, scopes or None), f"no user {name}")


@users.command
async def disable(name: str, /) -> None:
    """Disable a user: their sessions and grants end at once, their JWTs within two seconds."""
    async with _opened() as server:
        _found(await server.storage.disable_user(name), f"no user {name}")


@users.command
async def enable(name: str, /) -> None:
    """Let a disabled user sign in again."""
    async with _opened() as server:
        _found(await server.storage.enable_user(name), f"no user {name}")


@users.command
async def delete(name: str, /) -> None:
    """Delete a user with their sessions and grants."""
    async with _opened() as server:
        _found(await server.storage.delete_user(name), f"no user {name}")


@users.command
async def sessions(name: str, /, *, as_json: Json = False) -> None:
    """List the browsers in which a user is signed in."""
    async with _opened() as server:
        user = await _user(server, name)
        rows = [
            {
                "browser": " ".join(filter(None, describe(session.device))),
                "created_at": _time(session.created_at),
                "expires_at": _time(session.expires_at),
                "says": session.device,
            }
            for session in await server.storage.list_sessions(user.subject)
        ]
    _print_rows(rows, as_json=as_json)


@users.command
async def sign_out(name: str, /, *, apps: bool = False) -> None:
    """Sign a user out of all browsers.

    Parameters
    ----------
    name
        Whom.
    apps
        Disconnect all their apps, too.
    """
    async with _opened() as server:
        user = await _user(server, name)
        await server.storage.end_sessions(user.subject)
        if apps:
            await disconnect(server, user.subject)


@users.command
async def credentials(name: str, /, *, as_json: Json = False) -> None:
    """List what a user signs in with: password, second-factor and the like."""
    async with _opened() as server:
        user = await _user(server, name)
        rows = [{"kind": kind} for kind in await server.storage.list_credentials(user.subject)]
    _print_rows(rows, as_json=as_json)


@users.command
async def remove_credential(name: str, kind: str, /) -> None:
    """Take a credential away, such as a second factor that is lost, and sign the user out everywhere.

    Parameters
    ----------
    name
        Whose.
    kind
        What `users credentials` shows, or what stands before its colon: all of those.
    """
    async with _opened() as server:
        user = await _user(server, name)
        found = [
            one
            for one in await server.storage.list_credentials(user.subject)
            if kind in (one, one.partition(":")[0])
        ]
        _found(bool(found), f"{name} has no {kind}")
        for one in found:
            await server.storage.delete_credential(user.subject, one)
        await server.storage.end_sessions(user.subject)


# ------------------------------------------------------------------------------------------- clients


@clients.command(name="list")
async def list_clients(*, as_json: Json = False) -> None:
    """List the registered clients."""
    async with _opened() as server:
        rows = [
            {
                "client_id": client.client_id,
                "name": client.metadata.get("client_name", ""),
                "redirect_uris": " ".join(client.metadata["redirect_uris"]),
                "registered_at": _time(client.created_at),
                "approved_at": _time(client.approved_at),
                "first_used_at": _time(client.completed_at),
            }
            for client in await server.storage.list_clients()
        ]
    _print_rows(rows, as_json=as_json)


@clients.command
async def add(
    name: str, /, *redirect_uris: str, method: str = "client_secret_post", introspect: bool = False
) -> None:
    """Register a client; print its id and, this once, its secret.

    Parameters
    ----------
    name
        What users see on the consent page.
    redirect_uris
        Where codes may be sent.
    method
        How it authenticates: client_secret_post, client_secret_basic or none.
    introspect
        Let it ask about all tokens at /introspect: for services that check them. Needs no redirect URI.
    """
    if method not in AUTH_METHODS:
        raise CommandError(f"--method must be one of {', '.join(AUTH_METHODS)}")
    if introspect and method == "none":
        raise CommandError("--introspect is for clients with a secret")
    body = {
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "token_endpoint_auth_method": method,
    }
    async with _opened() as server:
        try:
            metadata = (
                resource_server(name, method)
                if introspect and not redirect_uris
                else parse_registration(body, server.settings.redirect_schemes)
            )
            client, secret = new_client(
                server, metadata, address="operator", operated=True, introspects=introspect
            )
            await server.register_client(client)
        except RegistrationError as error:
            raise CommandError(str(error.error_description)) from None
    print(f"client_id: {client.client_id}")
    if secret is not None:
        print(f"client_secret: {secret}")


@clients.command
async def approve(client_id: str, /) -> None:
    """Let a client be used that registered itself (AUTH_REGISTRATION=approval)."""
    async with _opened() as server:
        _found(await server.storage.approve_client(client_id), f"no client {client_id}")


@clients.command
async def remove(client_id: str, /) -> None:
    """Remove a client with its grants and tokens."""
    async with _opened() as server:
        _found(await server.storage.remove_client(client_id), f"no client {client_id}")


# -------------------------------------------------------------------------------------------- grants


@grants.command(name="list")
async def list_grants(*, as_json: Json = False) -> None:
    """List the grants that are alive."""
    async with _opened() as server:
        rows = [
            asdict(grant)
            | {
                "scopes": " ".join(grant.scopes),
                "created_at": _time(grant.created_at),
                "used_at": _time(grant.used_at),
                "expires_at": _time(grant.expires_at),
            }
            for grant in await server.storage.list_grants()
        ]
    _print_rows(rows, as_json=as_json)


@grants.command
async def revoke(grant_id: str, /) -> None:
    """Revoke a grant with its tokens."""
    async with _opened() as server:
        _found(await server.storage.revoke_grant(grant_id), f"no living grant {grant_id}")


# ---------------------------------------------------------------------------------------------- keys


@keys.command(name="list")
async def list_keys(*, as_json: Json = False) -> None:
    """List the keys that sign access tokens."""
    async with _opened() as server:
        rows = [
            {name: _time(value) if name.endswith("_at") else value for name, value in key.items()}
            for key in await server.tokens.list_keys()
        ]
    _print_rows(rows, as_json=as_json)


@keys.command
async def rotate(*, at_once: bool = False) -> None:
    """Make the next key that signs access tokens; print its id. No restart is needed.

    Parameters
    ----------
    at_once
        For when a key may have leaked: the new key signs at once, and every token signed before is refused.
    """
    async with _opened() as server:
        print(await server.tokens.rotate_keys(at_once=at_once))


@keys.command
async def rewrap() -> None:
    """Seal again what AUTH_SECRET_KEY_PREVIOUS sealed: once every node runs with the new AUTH_SECRET_KEY."""
    async with _opened() as server:
        count = await server.tokens.rewrap() + await server.login.rewrap()
        await store_check_value(server.storage, server.runtime.keys)
        print(
            f"{count} secrets sealed again. AUTH_SECRET_KEY_PREVIOUS can go in"
            f" {server.settings.refresh_replay_seconds} seconds, when no answer made with it is repeated."
        )


@app.command
async def purge() -> None:
    """Delete what has expired; the running server does so by itself every few minutes."""
    async with _opened() as server:
        print(f"{await guard.purge(server)} records deleted")


# ------------------------------------------------------------------------------------------- backups


@app.command(name="backup")
async def back_up(file: Path, /) -> None:
    """Write all that is stored to a new file, also while the server runs. The secret key is not in it."""
    async with _opened() as server:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        with os.fdopen(descriptor, "w", encoding="ascii") as lines:
            count = await backup.write(server.storage, await check_value(server.storage), lines)
    print(f"{count} records written to {file}. Keep the secret key too, in another place.")


@app.command
async def restore(file: Path, /, *, revoke_all: bool = False) -> None:
    """Fill an empty store from a backup, whatever storage it was made with.

    Parameters
    ----------
    file
        A backup.
    revoke_all
        Restore accounts and clients, but no session, grant or token.
    """
    settings = load_settings()
    storage: Storage = choices.storage.create(settings)
    await storage.open()
    try:
        with file.open(encoding="ascii") as lines:
            source = backup.Backup(lines)
            verify_key(settings, source.check)
            records = source.records()
            await storage.fill(backup.without_access(records) if revoke_all else records)
    except NotEmpty:
        raise CommandError("the store is not empty: restore into a new one") from None
    except (OSError, UnicodeDecodeError, backup.BackupError) as error:
        raise CommandError(f"{file}: {error}") from None
    finally:
        await storage.close()
    hours = (time.time() - source.made_at) / 3600
    print(f"{source.count} records restored, of {_time(source.made_at)}, {hours:.1f} hours ago.")
    if not revoke_all:
        print("What was revoked since then is valid again. If that matters: restore with --revoke-all.")


# -------------------------------------------------------------------------------------------- doctor


@app.command
async def doctor(*, advisory: Path | None = None, as_json: Json = False) -> None:
    """Say what is unsafe for production, and which files are not as the template wrote them.

    Ends with 1 when something is unsafe.

    Parameters
    ----------
    advisory
        Say instead whether this advisory concerns the project. Ends with 1 unless its flaw is fixed.
    """
    project, manifest = this_project(), load_manifest()
    if advisory is not None:
        found = list(judge(read_advisory(advisory), project, manifest))
    else:
        async with _opened() as server:
            found = [finding async for finding in examine(server)]
        found += compare(project, manifest)
    for finding in found:
        print(json.dumps(asdict(finding)) if as_json else finding)
    harmful = sum(not finding.harmless for finding in found)
    if not as_json:
        print(f"{harmful or 'nothing'} unsafe")
    if harmful:
        sys.exit(1)


async def _user(server: AuthorizationServer, name: str) -> User:
    user = await server.storage.get_user(name)
    if user is None:
        raise CommandError(f"no user {name}")
    return user


def _found(found: bool, otherwise: str) -> None:
    if not found:
        raise CommandError(otherwise)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    for row in rows:
        if as_json:
            print(json.dumps(row))
        else:
            print("  ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None)))
