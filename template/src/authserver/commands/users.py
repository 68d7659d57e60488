"""`users`: the people who may sign in."""
# ruff: noqa: PLC0415

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import App

from authserver import clock, limits
from authserver.browser.devices import describe
from authserver.commands import CommandError, Json, opened, print_rows, quoted, require, say, when
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest, short
from authserver.storage.users import Ending

if TYPE_CHECKING:
    from authserver.model.records import User
    from authserver.server import AuthorizationServer

users = App(name="users", help="The people who may sign in.")

_NOBODY_YET = "Nobody has an account yet. Whoever uses a link first may grant every scope."
_LINK_OF_THE_START = "So does the link that the start printed. The first use ends it: use that one first."


async def invitation(server: "AuthorizationServer", name: str | None) -> str | None:
    """Store an invitation; return its one-time link, or None where a first account is there already."""
    from authserver.audit import Event, audit
    from authserver.model.scopes import ALL

    token = secret_values.new(Kind.INVITATION)
    stored = await server.storage.users.add_invitation(
        digest(Kind.INVITATION, token),
        name,
        scopes=[ALL],  # the first account is the operator's own
        lifetime_seconds=limits.INVITATION_SECONDS,
    )
    if not stored:
        return None
    user = await server.storage.users.get(name) if name else None
    audit(
        Event.LINK_MADE,
        invitation=short(digest(Kind.INVITATION, token)),
        subject=user.subject if user else None,
    )
    return f"{server.issuer}/invite/{token}"


@users.command
async def invite(name: str, /) -> None:
    """Print a one-time link: it makes an account of that name, or recovers it. Good for an hour."""
    from authserver.login import USER_NAME

    if not USER_NAME.fullmatch(name):
        raise CommandError("a name has 1 to 64 letters, digits, and . _ @ + -, and does not begin with -")
    async with opened() as server:
        if server.login.accounts_elsewhere:
            raise CommandError(server.login.accounts_elsewhere)
        if not await server.storage.users.all():
            say(_NOBODY_YET, aside=True)
            # With a name in it none is of the start. Without accounts, all that is stored is little.
            stored = [row async for table, row in server.storage.dump() if table == "invitations"]
            if any(not row.get("name") and float(str(row["expires_at"])) > clock.now() for row in stored):
                say(_LINK_OF_THE_START, aside=True)
        say(str(await invitation(server, name)))


@users.command(name="list")
async def list_users(*, as_json: Json = False) -> None:
    """List the users."""
    async with opened() as server:
        rows = [
            {
                "name": user.name,
                "scopes": _scopes(user.scopes),
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
    """Set the scopes that a user may grant, '*' for all; without any, show what they are.

    `users reset-scopes` goes back to the default ones.
    """
    from authserver.model.scopes import ALL

    async with opened(needs_app=bool(scopes)) as server:
        if scopes and (unknown := set(scopes) - {ALL, *server.scopes.names}):
            raise CommandError(
                f"no such scope: {' '.join(map(quoted, sorted(unknown)))}."
                f" There are: {' '.join(server.scopes.names)}"
            )
        user = await _user(server, name)
        if scopes:
            await _set_scopes(server, user, tuple(dict.fromkeys(scopes)))
        else:
            say(_scopes(user.scopes))


@users.command
async def reset_scopes(name: str, /) -> None:
    """Let a user grant the default scopes, and no others."""
    async with opened() as server:
        await _set_scopes(server, await _user(server, name), None)


@users.command
async def disable(name: str, /) -> None:
    """Disable a user: their sessions and grants end at once, their JWTs within two seconds."""
    from authserver.audit import Event, audit

    async with opened() as server:
        user = await _user(server, name)
        require(await server.storage.users.disable(name), f"no user {quoted(name)}")
        audit(Event.ACCOUNT_DISABLED, subject=user.subject)
    say(f"{quoted(name)} is disabled: signed out everywhere, all apps disconnected.")


@users.command
async def enable(name: str, /) -> None:
    """Let a disabled user sign in again."""
    from authserver.audit import Event, audit

    async with opened() as server:
        user = await _user(server, name)
        require(await server.storage.users.enable(name), f"no user {quoted(name)}")
        audit(Event.ACCOUNT_ENABLED, subject=user.subject)
    say(f"{quoted(name)} may sign in again.")


@users.command
async def delete(name: str, /) -> None:
    """Delete a user with their sessions and grants."""
    from authserver.audit import Event, audit

    async with opened() as server:
        user = await _user(server, name)
        require(await server.storage.users.delete(name), f"no user {quoted(name)}")
        audit(Event.ACCOUNT_DELETED, subject=user.subject)
    say(f"{quoted(name)} is deleted, with their sessions and grants.")


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
        await server.storage.users.end_access(user.subject, Ending(grants=apps))
        audit(Event.SESSIONS_ENDED, subject=user.subject)
        if apps:
            audit(Event.APP_DISCONNECTED, subject=user.subject)
    say(f"{quoted(name)} is signed out of all browsers{', and all apps are disconnected' if apps else ''}.")


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
        had = await server.storage.sign_ins.list_credentials(user.subject)
        await server.storage.users.end_access(user.subject, Ending(delete=kinds, grants=True))
        audit(Event.ACCOUNT_SECURED, subject=user.subject)
    say(f"{quoted(user.name)}: all sessions, sign-ins, links, known devices and grants have ended.")
    for kind in kinds:
        if not any(one.startswith(kind) for one in had):
            say(f"{quoted(user.name)} had no {kind.removesuffix(':')}: there was none to take away.")
    say(f"Their password, if any, still works. A link for a new one: users invite {quoted(user.name)}")


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
    from authserver.audit import Event, audit

    async with opened() as server:
        user = await _user(server, name)
        found = [
            one
            for one in await server.storage.sign_ins.list_credentials(user.subject)
            if kind in (one, one.partition(":")[0])
        ]
        require(bool(found), f"{quoted(name)} has no {quoted(kind)}")
        await server.storage.users.end_access(user.subject, Ending(delete=found))
        for one in found:
            audit(Event.CREDENTIAL_REMOVED, subject=user.subject, credential=one)
    say(f"{quoted(name)} is without {', '.join(map(quoted, found))}, and signed out everywhere.")


async def _set_scopes(server: "AuthorizationServer", user: "User", scopes: tuple[str, ...] | None) -> None:
    from authserver.audit import Event, audit

    require(await server.storage.users.set_scopes(user.name, scopes), f"no user {quoted(user.name)}")
    audit(Event.SCOPES_SET, subject=user.subject, scope=None if scopes is None else " ".join(scopes))
    say(f"{quoted(user.name)} may grant {_scopes(scopes)}.")


def _scopes(scopes: Sequence[str] | None) -> str:
    return "(default)" if scopes is None else " ".join(scopes) or "(none)"


async def _user(server: "AuthorizationServer", name: str) -> "User":
    user = await server.storage.users.get(name)
    if user is None:
        raise CommandError(f"no user {quoted(name)}")
    return user
