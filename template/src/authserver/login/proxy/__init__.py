"""Sign-in by a reverse proxy, which names the person in a header; this server asks only for consent.

The header counts in every request, not only at sign-in. A session ends as soon as the proxy names somebody
else. A one-time link lets an operator in when the proxy names nobody.
"""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import pages
from authserver.audit import Event, audit
from authserver.browser import invitations, sign_in
from authserver.browser.forms import check_form, form_page
from authserver.browser.handling import endpoint
from authserver.browser.problems import Refusal
from authserver.browser.sessions import start_session
from authserver.crypto.keys import configured_key
from authserver.login import Login
from authserver.login.proxy.doctor import checks
from authserver.login.proxy.identity import Identity, identify, is_name
from authserver.login.proxy.settings import Settings
from authserver.model.records import Invitation, Session, User
from authserver.model.scopes import ALL
from authserver.pages.elsewhere import see_other
from authserver.provider import Provider
from authserver.requests.reading import parse_parameters, read_form
from authserver.settings import SettingsError

__all__ = ["Settings", "checks", "create"]

# The credential that holds the digest of the one session which a one-time link began.
_WITHOUT_PROXY = "session without proxy"


def create(server: Provider, settings: Settings) -> "ProxyLogin":
    """Return the login; raises SettingsError."""
    return ProxyLogin(server, settings)


class ProxyLogin(Login):
    """The Login protocol with a proxy's header."""

    def __init__(self, server: Provider, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._secret = configured_key("AUTH_PROXY_SECRET", settings.proxy_secret, settings.proxy_secret_file)
        mapped = {scope for scopes in settings.proxy_group_scopes.values() for scope in scopes.split()}
        if unknown := mapped - {ALL, *server.scopes.names}:
            raise SettingsError(
                f"AUTH_PROXY_GROUP_SCOPES: no such scope: {' '.join(sorted(unknown))}."
                f' Example: AUTH_PROXY_GROUP_SCOPES={{"staff": "{server.scopes.names[0]}"}}'
            )

    @property
    def routes(self) -> list[Route]:
        """The pages of this login."""
        return [
            endpoint("/login", GET=self._sign_in),
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
        ]

    def _identify(self, request: Request) -> Identity | None:
        return identify(request, self._settings, self._secret)

    async def _sign_in(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        await sign_in.begin(self._server, request, request_id)
        person = self._identify(request)
        if person is None:
            raise Refusal("proxy_nobody", status=403)
        user = await self._user(person)
        return await sign_in.finish(self._server, request, user, request_id)

    async def _user(self, person: Identity) -> User:
        """Return the account of the person, made at the first visit."""
        storage = self._server.storage
        user = await storage.users.add(person.name, scopes=person.scopes)
        if user.name != person.name:
            # For this server Alice is alice; for the proxy they may be two people.
            raise Refusal("proxy_spelling", status=403, named=person.name, known=user.name)
        if user.disabled_at is not None:
            audit(Event.SIGN_IN_REFUSED_DISABLED, subject=user.subject)
            raise Refusal("disabled", status=403, username=user.name)
        if person.scopes is not None:
            await storage.users.set_scopes(user.name, person.scopes)
        return user

    async def confirm(self, request: Request, session: Session) -> bool:
        """Say whether the proxy still names the user of the session; it ends where it names another."""
        person = self._identify(request)
        if person is None:
            if await self._began_without_proxy(session):
                return True
            raise Refusal("proxy_nobody", status=403)
        if person.name == session.user_name and _are_scopes(session, person.scopes):
            return True
        await self._server.storage.sign_ins.end_session(session.digest)
        return False

    def signed_out(self, request: Request, request_id: str) -> Response:
        """Say that the proxy signs the person in again, and how to sign out there."""
        return pages.page(
            request,
            "login/proxy/pages/signed_out",
            sign_out_url=self._settings.proxy_sign_out_url,
            onward=request_id and f"/login?{urlencode({'request': request_id})}",
        )

    # ------------------------------------------------------------------- when the proxy names nobody

    async def _began_without_proxy(self, session: Session) -> bool:
        kept = await self._server.storage.sign_ins.get_credential(session.subject, _WITHOUT_PROXY)
        return kept is not None and kept.value == session.digest

    async def _show_invitation(self, request: Request) -> Response:
        invitation, person = await self._invitation(request)
        return self._invitation_page(request, invitation, person)

    async def _invitation(self, request: Request) -> tuple[Invitation, Identity | None]:
        invitation = await invitations.find(self._server, request)
        person = self._identify(request)
        if person and invitation.name not in (None, person.name):
            # The next request would end the session again.
            raise Refusal("proxy_names_another", status=403, named=person.name, invited=invitation.name)
        return invitation, person

    def _invitation_page(
        self, request: Request, invitation: Invitation, person: Identity | None, error: str | None = None
    ) -> Response:
        return form_page(
            self._server,
            request,
            "login/proxy/pages/invite",
            status=400 if error else 200,
            action=request.scope["path"],
            username=invitation.name or (person and person.name),
            error=error,
        )

    async def _accept_invitation(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        invitation, person = await self._invitation(request)
        name = invitation.name or (person.name if person else form.get("username", "").strip())
        if not is_name(name):
            return self._invitation_page(request, invitation, person, error="name")
        user = await invitations.claim(self._server, request, name=name, credential=None)
        audit(
            Event.SIGNED_IN_WITHOUT_THE_PROXY,
            subject=user.subject,
            invitation=invitations.label(request),
        )
        response = see_other("/account")
        session = await start_session(self._server, request, response, user)
        storage = self._server.storage
        kept = await storage.sign_ins.get_credential(user.subject, _WITHOUT_PROXY)
        counter = kept.counter if kept else 0
        await storage.sign_ins.put_credential(user.subject, _WITHOUT_PROXY, session, counter=counter)
        return response


def _are_scopes(session: Session, scopes: tuple[str, ...] | None) -> bool:
    """Say whether the session's user may grant what the groups say, if they say anything."""
    return scopes is None or (session.entitlement is not None and set(session.entitlement) == set(scopes))
