"""Sign-in with the name and password of a directory: LDAP or Active Directory.

The directory says who somebody is and whether they may sign in. An account here stands for one entry there,
by the attribute that never changes; it takes the entry's name, and scopes from its groups. A check at
intervals ends sessions and grants of entries that are gone or disabled.
"""

import asyncio
from dataclasses import replace

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import limits
from authserver.audit import Event, audit
from authserver.browser.handling import endpoint
from authserver.browser.problems import Refusal
from authserver.crypto.secret_values import derive
from authserver.login import AccountSection, Login
from authserver.login.ldap.directory import Directory, Entry, NotRight, Unavailable
from authserver.login.ldap.doctor import checks
from authserver.login.ldap.names import normalised
from authserver.login.ldap.settings import Settings
from authserver.model.records import Session, User
from authserver.model.scopes import ALL
from authserver.provider import Provider
from authserver.requests.reading import read_form
from authserver.settings import SettingsError
from authserver.storage.sign_ins import Bucket
from authserver.storage.tables import FIRST_EPOCH
from authserver.with_password.form import PasswordForm, Refused
from authserver.with_password.pool import Pool, Visitor
from authserver.with_password.second_factor import SecondFactor

__all__ = ["Settings", "checks", "create"]

ENTRY = "directory entry"
"""The kind of the credential that holds the id of an account's entry."""

DIRECTORY = "directory"
"""Who disabled an account, where it was not an operator."""

# Facts that lead from the id of an entry to the subject of its account.
_ACCOUNT = "account of directory entry "

# The subjects of accounts that were gone at the last look, where they were too many to be believed.
_MANY_GONE = "many gone from the directory"

_MINUTE_SECONDS = 60

# Who asks for the check at intervals.
_OURSELVES = Visitor((), "directory check", known=True)

_log = structlog.get_logger("authserver")


def create(server: Provider, settings: Settings) -> "DirectoryLogin":
    """Return the login; raises SettingsError."""
    return DirectoryLogin(server, settings)


class DirectoryLogin(Login):
    """The Login protocol with a directory."""

    def __init__(self, server: Provider, settings: Settings) -> None:
        self._server = server
        self._minutes = settings.ldap_check_minutes
        self._many_gone = settings.ldap_many_gone
        self._directory = Directory(settings)
        self._pool = Pool(
            at_once=limits.DIRECTORY_QUESTIONS_AT_ONCE, waiting=limits.DIRECTORY_QUESTIONS_WAITING
        )
        self._second_factor = SecondFactor(server, settings)
        finish = self._second_factor.finish
        self._form = PasswordForm(server, self._check, finish, note="sign_in.directory")
        self._scopes = {
            normalised(group): scopes.split() for group, scopes in settings.ldap_group_scopes.items()
        }
        known = {ALL, *server.scopes.names}
        if unknown := {scope for scopes in self._scopes.values() for scope in scopes} - known:
            raise SettingsError(
                f"AUTH_LDAP_GROUP_SCOPES: no such scope: {' '.join(sorted(unknown))}."
                f' Example: AUTH_LDAP_GROUP_SCOPES={{"cn=all,dc=example,dc=com": "{server.scopes.names[0]}"}}'
            )

    @property
    def routes(self) -> list[Route]:
        """The pages of this login, and one for whoever has a one-time link of another."""
        return [
            self._form.route,
            endpoint("/invite/{token}", GET=self._no_invitation, POST=self._no_invitation),
            *self._second_factor.routes,
        ]

    async def _no_invitation(self, request: Request) -> Response:
        if request.method == "POST":
            await read_form(request)
        raise Refusal("no_invitations", status=404)

    @property
    def accounts_elsewhere(self) -> str:
        """Say so in place of one-time links."""
        return (
            "Accounts come from the directory: whoever AUTH_LDAP_FILTER finds there signs in with the name"
            f" and password of the directory, at {self._server.issuer}/login"
        )

    # ------------------------------------------------------------------------------------- sign-in

    async def account_section(self, request: Request, session: Session) -> AccountSection | None:
        """Return what the account page shows of the second factor."""
        return AccountSection(
            "with_password/second_factor/pages/second_factor_section",
            await self._second_factor.section(session),
        )

    async def rewrap(self) -> int:
        """Seal second factors again."""
        return await self._second_factor.rewrap()

    async def _check(self, name: str, password: str, user: User | None, visitor: Visitor) -> User:
        entry = await self._authenticate(name, password, visitor)
        account = await self._account(entry)
        if user is None or user.subject != account.subject:
            # Called by another name than the account's, so that its epoch was not read before: ask again. An
            # account of the first epoch had that one before, too.
            user = account
            if account.epoch != FIRST_EPOCH:
                again = await self._authenticate(name, password, visitor)
                if again.id != entry.id:
                    raise Refused
        if account.disabled_at is not None and not await self._enable(account):
            raise Refused(reason="an operator disabled the account")
        await self._set_scopes(entry.name or account.name, entry)
        return replace(account, epoch=user.epoch)

    async def _authenticate(self, name: str, password: str, visitor: Visitor) -> Entry:
        """Return the entry with that name and password; raises Refused and Busy."""
        try:
            return await self._pool.run(visitor, self._directory.authenticate, name, password)
        except NotRight as error:
            raise Refused(reason=str(error)) from None
        except Unavailable:
            raise Refused("directory", status=503, wait=0, reason="the directory is unavailable") from None

    async def _account(self, entry: Entry) -> User:
        """Return the account of an entry, made or renamed where it must be; raises Refused."""
        storage, fact = self._server.storage, _ACCOUNT + entry.id.hex()
        name = entry.name or ""
        subject = await storage.facts.recall(fact)
        account = await storage.users.get_by_subject(subject.decode()) if subject else None
        if account is None:
            if subject:
                await storage.facts.forget(fact)  # an operator deleted the account
            account = await storage.users.add(name, scopes=None)
            # Of two entries whose names read alike one gets the account.
            await storage.sign_ins.put_credential(account.subject, ENTRY, entry.id, counter=0)
            credential = await storage.sign_ins.get_credential(account.subject, ENTRY)
            if credential is None or credential.value != entry.id:
                raise Refused("taken", status=403, reason="the name belongs to the account of another entry")
            await storage.facts.remember(fact, account.subject.encode())
            audit(Event.ACCOUNT_MADE, subject=account.subject)
        elif account.name != name and not await storage.users.rename(account.name, name):
            raise Refused("taken", status=403, reason="the new name belongs to the account of another entry")
        return account

    async def _set_scopes(self, name: str, entry: Entry) -> None:
        """Let the account grant the default scopes and those of its groups, if groups are mapped at all."""
        if self._scopes:
            mapped = {scope for group in entry.groups for scope in self._scopes.get(group, ())}
            scopes = sorted({*self._server.scopes.default, *mapped}) if mapped else None
            await self._server.storage.users.set_scopes(name, scopes)

    # --------------------------------------------------------------------------------------- check

    async def watch(self) -> None:
        """Look at all entries now and then; only one of the processes that share the store does."""
        if not self._directory.has_service_account:
            _log.warning(
                "accounts that the directory disables keep their grants: AUTH_LDAP_BIND_DN is not set"
            )
            return
        seconds = self._minutes * _MINUTE_SECONDS
        # The interval is part of the key: a shorter one does not wait for the end of the longer one before.
        key = derive(self._server.keys.names, "directory check", str(seconds))
        turn = Bucket(key, burst=1, interval_seconds=seconds)
        while True:
            try:
                if await self._server.storage.sign_ins.take_attempt([turn]) <= 0:
                    await self.check()
            except Exception as error:  # noqa: BLE001  # whatever happens, the next check must come
                _log.warning("accounts could not be compared with the directory", kind=type(error).__name__)
            await asyncio.sleep(_MINUTE_SECONDS)

    async def check(self) -> None:
        """Compare all accounts with their entries, a batch at a time.

        Raises Unavailable or Busy where the directory did not answer wholly: then nobody of that batch, and
        of those after it, changes. Raises StorageUnavailable.
        """
        storage = self._server.storage
        facts = await storage.facts.all(_ACCOUNT)
        subjects = {bytes.fromhex(fact.removeprefix(_ACCOUNT)): facts[fact].decode() for fact in facts}
        ids = list(subjects)
        seen: list[tuple[User, Entry | None]] = []
        try:
            for start in range(0, len(ids), limits.DIRECTORY_ENTRIES_AT_ONCE):
                batch = ids[start : start + limits.DIRECTORY_ENTRIES_AT_ONCE]
                entries = await self._pool.run(_OURSELVES, self._directory.look_up, batch)
                for id_ in batch:
                    account = await storage.users.get_by_subject(subjects[id_])
                    if account is None:
                        await storage.facts.forget(_ACCOUNT + id_.hex())  # an operator deleted the account
                    else:
                        seen.append((account, entries.get(id_)))
        finally:
            held_back = await self._held_back(seen)
            for account, entry in seen:
                if account.subject not in held_back:
                    await self._settle(account, entry)

    async def _held_back(self, seen: list[tuple[User, Entry | None]]) -> set[str]:
        """Return the subjects of accounts that are gone, but not to be believed gone before a second look.

        A copy of the directory that is empty, or that the service account may not read, looks as if everybody
        had left; and grants that ended do not come back.
        """
        open_ = [(account.subject, entry) for account, entry in seen if account.disabled_at is None]
        gone = {subject for subject, entry in open_ if entry is None or not entry.active}
        facts = self._server.storage.facts
        before = set((await facts.recall(_MANY_GONE) or b"").decode().split())
        many = len(gone) > max(limits.MANY_GONE, limits.MANY_GONE_SHARE * len(open_))
        await facts.forget(_MANY_GONE)
        if not many or self._many_gone == "agree":
            return set()
        await facts.remember(_MANY_GONE, " ".join(sorted(gone)).encode())
        held_back = gone if self._many_gone == "hold" else gone - before
        if held_back:
            _log.error(
                "so many accounts are gone or disabled in the directory that they are not disabled here"
                " before the next look finds the same. AUTH_LDAP_MANY_GONE=agree disables them at once,"
                " AUTH_LDAP_MANY_GONE=hold never",
                gone=len(gone),
                accounts=len(open_),
                minutes=self._minutes,
            )
        return held_back

    async def _settle(self, account: User, entry: Entry | None) -> None:
        """Make the account what its entry says."""
        storage = self._server.storage
        if entry is None or not entry.active:
            if account.disabled_at is None:
                await storage.users.disable(account.name, by=DIRECTORY)
                audit(Event.ACCOUNT_DISABLED_BY_THE_DIRECTORY, subject=account.subject)
            return
        if account.disabled_at is not None:
            await self._enable(account)
        name = account.name
        if entry.name and entry.name != name and await storage.users.rename(name, entry.name):
            name = entry.name
        await self._set_scopes(name, entry)

    async def _enable(self, account: User) -> bool:
        """Enable an account that the directory had disabled; False if an operator had."""
        if not await self._server.storage.users.enable(account.name, by=DIRECTORY):
            return False
        audit(Event.ACCOUNT_ENABLED_BY_THE_DIRECTORY, subject=account.subject)
        return True
