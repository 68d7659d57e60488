"""The account page: connected apps, signed-in devices, what the login keeps; and signing out."""

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits, pages
from authserver.audit import Event, audit
from authserver.browser import sign_in
from authserver.browser.apps import connected, disconnect
from authserver.browser.cookies import delete_cookie, get_cookie, set_cookie
from authserver.browser.devices import describe
from authserver.browser.forms import check_form, form_page, posted_form
from authserver.browser.sessions import (
    current_session,
    end_other_access,
    end_session,
    know_device,
    required_session,
)
from authserver.crypto.secret_values import derive
from authserver.model.records import Session
from authserver.pages.connecting import ways
from authserver.pages.elsewhere import see_other
from authserver.pages.languages import language
from authserver.provider import Provider
from authserver.requests.reading import read_form
from authserver.storage.users import Ending


async def show(server: Provider, request: Request) -> Response:
    """Show the user's devices, apps and credentials, and how to connect an app."""
    session = await required_session(server, request)
    section = await server.login.account_section(request, session)
    sessions = await server.storage.sign_ins.list_sessions(session.subject)
    done = get_cookie(server, request, "done")
    response = form_page(
        server,
        request,
        "account",
        subject=session.subject,
        username=session.user_name,
        mcp_url=server.resource,
        ways=ways(pages.server_name(request), server.resource),
        done=done if language().knows(f"account.done.{done}") else None,
        apps=await connected(server, session),
        devices=[
            {
                "id": _device_id(server, one),
                "is_this": one.digest == session.digest,
                "names": describe(one.device),
                "created_at": one.created_at,
            }
            for one in reversed(sessions)
        ],
        section_page=section and f"{section.template}.html",
        section=section and section.context,
    )
    if done:
        delete_cookie(server, response, "done")
    return response


def back(server: Provider, done: str, session: Session | None = None) -> Response:
    """Return to the account page, which says what was done (`account.done.<done>` of the strings).

    `session` is that of the browser where it ended all others.
    """
    response = see_other("/account")
    set_cookie(server, response, "done", done, limits.DONE_SECONDS)
    if session is not None:
        know_device(server, response, session)
    return response


async def end_others(server: Provider, session: Session, done: str, event: Event, ending: Ending) -> Response:
    """End all that was begun with the account but this session, and return to the account page."""
    kept = await end_other_access(server, session, ending)
    if kept is None:  # it was ended first
        return see_other("/account")
    audit(event, subject=session.subject)
    return back(server, done, kept)


async def end_app(server: Provider, request: Request) -> Response:
    """Disconnect one app."""
    form, session = await posted_form(server, request)
    await disconnect(server, session.subject, form.get("app", ""))
    return back(server, "app")


async def end_devices(server: Provider, request: Request) -> Response:
    """Sign out one other device, or without its id all others."""
    form, session = await posted_form(server, request)
    device = form.get("device")
    if device is None:
        return await end_others(server, session, "devices", Event.SESSIONS_ENDED, Ending())
    for one in await server.storage.sign_ins.list_sessions(session.subject):
        if device == _device_id(server, one):
            await server.storage.sign_ins.end_session(one.digest)
    audit(Event.SESSIONS_ENDED, subject=session.subject)
    return back(server, "device")


async def show_securing(server: Provider, request: Request) -> Response:
    """Say what somebody can do whose password or device another person may have."""
    session = await required_session(server, request)
    sign_in.require_fresh_sign_in(server, request, session)
    return form_page(server, request, "secure", subject=session.subject)


async def secure(server: Provider, request: Request) -> Response:
    """End all that was begun with the account, but in this browser, and disconnect all apps."""
    _, session = await posted_form(server, request)
    sign_in.require_fresh_sign_in(server, request, session)
    return await end_others(server, session, "secure", Event.ACCOUNT_SECURED, Ending(grants=True))


async def show_sign_out(server: Provider, request: Request) -> Response:
    """Ask whether to sign out everywhere."""
    session = await required_session(server, request)
    sign_in.require_fresh_sign_in(server, request, session)
    return form_page(server, request, "sign_out", subject=session.subject)


async def sign_out(server: Provider, request: Request) -> Response:
    """End all sessions of the user and, if they want it, disconnect all apps."""
    form, session = await posted_form(server, request)
    sign_in.require_fresh_sign_in(server, request, session)
    ended = await server.storage.users.end_access(
        session.subject, Ending(session=session.digest, grants="apps" in form)
    )
    if ended is None:  # this session was ended first
        return see_other("/account")
    audit(Event.SESSIONS_ENDED, subject=session.subject)
    if "apps" in form:
        audit(Event.APP_DISCONNECTED, subject=session.subject)
    response = pages.message(request, "signed_out_everywhere", status=200)
    await end_session(server, request, response)
    return response


async def log_out(server: Provider, request: Request) -> Response:
    """End the session; what comes then is for the login to say."""
    form = await read_form(request)
    session = await current_session(server, request)
    check_form(server, request, form, subject=session.subject if session else "")
    response = server.login.signed_out(request, form.get("request", ""))
    await end_session(server, request, response)
    return response


def _device_id(server: Provider, session: Session) -> str:
    """Return a name for a session, from which neither the session nor its cookie can be found."""
    return derive(server.keys.names, "session", session.digest).hex()[:32]
