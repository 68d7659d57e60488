"""`users`: the people who may sign in."""
# ruff: noqa: PLC0415

import sys
from typing import TYPE_CHECKING

from cyclopts import App

from authserver import limits
from authserver.browser.devices import describe
from authserver.commands import CommandError, Json, opened, print_rows, require, when
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest

if TYPE_CHECKING:
    from authserver.model.records import User
    from authserver.server import AuthorizationServer

users = App(name="users", help="The people who may sign in.")

_NOBODY_YET = (
    "Nobody has an account yet. Whoever uses a link first, this one or that of the start, may grant every"
    " scope, and ends the link of the start: use that one first."
)


async def invitation(server: "AuthorizationServer", name: str | None) -> str | None:
    """Store an invitation; return its one-time link, or None where a first account is there already."""
    from authserver.model.scopes import ALL

    token = secret_values.new(Kind.INVITATION)
    stored = await server.storage.users.add_invitation(
        digest(Kind.INVITATION, token),
        name,
        scopes=[ALL],  # the first account is the operator's own
        lifetime_seconds=limits.INVITATION_SECONDS,
    )
    return f"{server.issuer}/invite/{token}" if stored else None


@users.command
async def invite(name: str, /) -> None:
    """Print a one-time link: it makes an account of that name, or recovers it. Good for an hour."""
    from authserver.login import USER_NAME

    if not USER_NAME.fullmatch(name):
        raise CommandError("a name has 1 to 64 letters, digits, and . _ @ + -")
    async with opened() as server:
        if server.login.accounts_elsewhere:
            raise CommandError(server.login.accounts_elsewhere)
        if not await server.storage.users.all():
            print(_NOBODY_YET, file=sys.stderr)
        print(await invitation(server, name))


@users.command(name="list")
async def list_users(*, as_json: Json = False) -> None:
    """List the users."""
    async with opened() as server:
        rows = [
            {
                "name": user.name,
                "scopes": "(default)" if user.scopes is None else " ".join(user.scopes),
                "created_at": when(user.created_at),
                "disabled_at": when(user.disabled_at),
                "disabled_by": user.disabled_by,
                "subject": user.subject,
            }
            for user in await server.storage.users.all()
        ]
    print_rows(rows, as_json=as_json)


@users.command(name="scopes")
async def set_scopes(name: str, /, *scopes: str) -> None:
    """Set the scopes that a user may grant: none for the default ones, '*' for all."""
    from authserver.model.scopes import ALL

    async with opened() as server:
        if unknown := set(scopes) - {ALL, *server.scopes.names}:
            raise CommandError(
                f"no such scope: {' '.join(sorted(unknown))}. There are: {' '.join(server.scopes.names)}"
            )
        require(await server.storage.users.set_scopes(name, scopes or None), f"no user {name}")


@users.command
async def disable(name: str, /) -> None:
    """Disable a user: their sessions and grants end at once, their JWTs within two seconds."""
    async with opened() as server:
        require(await server.storage.users.disable(name), f"no user {name}")


@users.command
async def enable(name: str, /) -> None:
    """Let a disabled user sign in again."""
    async with opened() as server:
        require(await server.storage.users.enable(name), f"no user {name}")


@users.command
async def delete(name: str, /) -> None:
    """Delete a user with their sessions and grants."""
    async with opened() as server:
        require(await server.storage.users.delete(name), f"no user {name}")


@users.command
async def sessions(name: str, /, *, as_json: Json = False) -> None:
    """List the browsers in which a user is signed in."""
    async with opened() as server:
        user = await _user(server, name)
        rows = [
            {
                "browser": " ".join(filter(None, describe(session.device))),
                "created_at": when(session.created_at),
                "expires_at": when(session.expires_at),
                "says": session.device,
            }
            for session in await server.storage.sign_ins.list_sessions(user.subject)
        ]
    print_rows(rows, as_json=as_json)


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
    from authserver.audit import Event, audit

    async with opened() as server:
        user = await _user(server, name)
        await server.storage.users.end_access(user.subject, grants=apps)
        audit(Event.SESSIONS_ENDED, subject=user.subject)
        if apps:
            audit(Event.APP_DISCONNECTED, subject=user.subject)


@users.command
async def secure(name: str, /, *, factors: bool = False, passkeys: bool = False) -> None:
    """End all that was begun with an account: somebody else may have its password or a device.

    Sessions, half sign-ins, one-time links, known devices and grants end in one step. The password stays.

    Parameters
    ----------
    name
        Whose.
    factors
        Take the second factor with its recovery codes away, too.
    passkeys
        Take all passkeys away, too: `users invite` makes a link for a new one.
    """
    from authserver.audit import Event, audit
    from authserver.crypto.sealing import SECOND_FACTOR

    async with opened() as server:
        user = await _user(server, name)
        kinds = [*[SECOND_FACTOR] * factors, *["passkey:"] * passkeys]
        await server.storage.users.end_access(user.subject, delete=kinds, grants=True)
        audit(Event.ACCOUNT_SECURED, subject=user.subject)
    print(f"{user.name}: all sessions, sign-ins, links, known devices and grants have ended.")
    print(f"Their password, if any, still works. A link for a new one: users invite {user.name}")


@users.command
async def credentials(name: str, /, *, as_json: Json = False) -> None:
    """List what a user signs in with: password, second-factor and the like."""
    async with opened() as server:
        user = await _user(server, name)
        rows = [{"kind": kind} for kind in await server.storage.sign_ins.list_credentials(user.subject)]
    print_rows(rows, as_json=as_json)


@users.command
async def remove_credential(name: str, kind: str, /) -> None:
    """Take a credential away, such as a second factor that is lost. Signs the user out everywhere.

    Parameters
    ----------
    name
        Whose.
    kind
        What `users credentials` shows, or what stands before its colon: all of those.
    """
    async with opened() as server:
        user = await _user(server, name)
        found = [
            one
            for one in await server.storage.sign_ins.list_credentials(user.subject)
            if kind in (one, one.partition(":")[0])
        ]
        require(bool(found), f"{name} has no {kind}")
        await server.storage.users.end_access(user.subject, delete=found)


async def _user(server: "AuthorizationServer", name: str) -> "User":
    user = await server.storage.users.get(name)
    if user is None:
        raise CommandError(f"no user {name}")
    return user
