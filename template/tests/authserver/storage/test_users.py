"""Accounts and the one-time links that make or recover one."""

import asyncio
from dataclasses import replace

import pytest

from authserver.model.records import User
from authserver.storage import Storage
from authserver.storage.verdicts import Gone
from storage import MOMENT, add_request, add_user, granted, lives, new_code, redeem, sign_in

pytestmark = pytest.mark.anyio


async def test_a_name_is_one_account_in_whatever_case(storage: Storage) -> None:
    user = await add_user(storage, "Alice")
    assert await storage.users.get("aLICE") == user
    assert await storage.users.get_by_subject(user.subject) == user
    again = await add_user(storage, "ALICE")
    assert again == replace(user, epoch=1)
    assert await storage.users.all() == [again]


async def test_an_invitation_is_read_often_and_claimed_once(storage: Storage) -> None:
    """Attack 12: claim one link twenty times at once. Source: threat model."""
    await storage.users.add_invitation(b"link", "alice", scopes=("read",), lifetime_seconds=100)
    for _ in range(3):
        found = await storage.users.get_invitation(b"link")
        assert found is not None
        assert found.name == "alice"

    async def claim() -> User | None:
        return await storage.users.claim_invitation(b"link", name="eve", credential=("password", b"x"))

    claims = await asyncio.gather(*(claim() for _ in range(20)))
    [user] = [user for user in claims if user is not None]
    assert (user.name, user.scopes) == ("alice", ("read",))
    assert await storage.users.get_invitation(b"link") is None


async def test_an_invitation_expires_and_is_replaced_by_a_later_one(storage: Storage) -> None:
    """Attack 12: use a link that is old, or was replaced. Source: threat model."""
    await storage.users.add_invitation(b"brief", "alice", scopes=None, lifetime_seconds=MOMENT)
    await storage.users.add_invitation(b"old", "bob", scopes=None, lifetime_seconds=100)
    await storage.users.add_invitation(b"new", "bob", scopes=None, lifetime_seconds=100)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.users.get_invitation(b"brief") is None
    assert await storage.users.get_invitation(b"old") is None
    assert await storage.users.get_invitation(b"new") is not None
    assert await storage.users.claim_invitation(b"brief", name="alice", credential=("k", b"")) is None


async def test_the_nameless_invitation_is_for_the_first_account_only(storage: Storage) -> None:
    """Attack 12: become a second owner by the first link. Source: threat model."""
    assert await storage.users.add_invitation(b"first", None, scopes=("*",), lifetime_seconds=100)
    assert await storage.users.get_invitation(b"first") is not None
    await add_user(storage, "bob")
    assert await storage.users.get_invitation(b"first") is None
    assert await storage.users.claim_invitation(b"first", name="eve", credential=("k", b"")) is None
    assert not await storage.users.add_invitation(b"again", None, scopes=("*",), lifetime_seconds=100)


async def test_only_the_first_account_may_grant_what_its_link_says(storage: Storage) -> None:
    """Attack 12, 30: claim a link that was made before there was any account, beside others, and after them.
    Source: CWE-367.
    """
    names = [f"user{number}" for number in range(20)]
    for name in names:
        await storage.users.add_invitation(name.encode(), name, scopes=("*",), lifetime_seconds=100)

    async def claim(name: str) -> User | None:
        return await storage.users.claim_invitation(name.encode(), name="", credential=("k", b""))

    users = [await claim(names[0]), *await asyncio.gather(*map(claim, names[1:]))]
    assert [user and user.scopes for user in users] == [("*",)] + [None] * 19


async def test_of_links_that_are_claimed_at_once_one_makes_the_first_account(storage: Storage) -> None:
    """Attack 12, 30: be the first together with somebody else. Source: CWE-367."""
    names = [f"user{number}" for number in range(20)]
    for name in names:
        await storage.users.add_invitation(name.encode(), name, scopes=("*",), lifetime_seconds=100)
    claims = (storage.users.claim_invitation(name.encode(), name="", credential=("k", b"")) for name in names)
    users = await asyncio.gather(*claims)
    assert sorted(user.scopes or () for user in users if user) == [()] * 19 + [("*",)]


async def test_disabling_a_user_ends_their_links(storage: Storage) -> None:
    """Attack 12, 30: keep a link from before the account was disabled until it is enabled again.
    Source: OWASP ASVS 5.0 7.4.2.
    """
    await add_user(storage, "Alice")
    await storage.users.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100)
    assert await storage.users.disable("ALICE")
    assert await storage.users.enable("alice")
    assert await storage.users.get_invitation(b"link") is None
    assert await storage.users.claim_invitation(b"link", name="", credential=("k", b"mine")) is None


async def test_recovery_sets_the_credential_and_ends_sessions(storage: Storage) -> None:
    """Attack 12: stay signed in after the account was recovered. Source: OWASP ASVS 5.0 7.4.3."""
    user = await add_user(storage)
    await sign_in(storage, user, b"session")
    await storage.users.add_invitation(b"link", "alice", scopes=("*",), lifetime_seconds=100)
    again = await storage.users.claim_invitation(b"link", name="", credential=("password", b"new"))
    assert again == replace(user, epoch=1)
    credential = await storage.sign_ins.get_credential(user.subject, "password")
    assert credential is not None
    assert (credential.value, credential.counter) == (b"new", 2)
    assert await storage.sign_ins.get_session(b"session") is None


async def test_disabling_a_user_ends_sessions_and_grants_at_once_and_for_good(
    storage: Storage,
) -> None:
    """Attack 12, 13: go on as a disabled user, by session, link, code or token.
    Source: OWASP ASVS 5.0 7.4.2.
    """
    user, tokens = await granted(storage)
    code = await new_code(storage, user)
    await sign_in(storage, user, b"session")
    await storage.users.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100)
    assert await storage.users.disable("Alice")
    assert await storage.sign_ins.get_session(b"session") is None
    assert not await lives(storage, tokens)
    assert await redeem(storage, code) == Gone()
    assert await storage.users.claim_invitation(b"link", name="", credential=("k", b"")) is None
    # One that is made later brings nobody back either.
    await storage.users.add_invitation(b"later", "alice", scopes=None, lifetime_seconds=100)
    assert await storage.users.claim_invitation(b"later", name="", credential=("k", b"")) is None
    request = await add_request(storage)
    denied = await storage.grants.create(
        request, session=b"session", scopes=(), grant_seconds=1, code=b"c", code_seconds=1
    )
    assert denied is None
    assert await storage.users.enable("alice")
    assert not await lives(storage, tokens)
    assert await storage.sign_ins.get_session(b"session") is None


async def test_what_an_operator_disables_nobody_else_enables(storage: Storage) -> None:
    """Attack 12: come back when a directory enables whom an operator disabled. Source: CWE-863."""
    await add_user(storage)

    async def disabled_by() -> str | None:
        user = await storage.users.get("alice")
        assert user is not None
        assert (user.disabled_at is None) == (user.disabled_by is None)
        return user.disabled_by

    assert not await storage.users.enable("alice", by="directory")
    assert await storage.users.disable("alice", by="directory")
    assert await disabled_by() == "directory"
    assert not await storage.users.enable("alice", by="elsewhere")
    assert await storage.users.enable("alice", by="directory")
    assert await disabled_by() is None
    for one, then in (("directory", "operator"), ("operator", "directory")):
        assert await storage.users.disable("alice", by=one)
        assert await storage.users.disable("alice", by=then)
        assert await disabled_by() == "operator"
        assert not await storage.users.enable("alice", by="directory")
        assert await storage.users.enable("alice")
        assert await disabled_by() is None


async def test_deleting_a_user_deletes_what_is_theirs(storage: Storage) -> None:
    user, tokens = await granted(storage)
    await sign_in(storage, user, b"session")
    assert await storage.users.delete("alice")
    assert await storage.users.get("alice") is None
    assert await storage.sign_ins.get_credential(user.subject, "password") is None
    assert await storage.sign_ins.get_session(b"session") is None
    assert not await lives(storage, tokens)


async def test_commands_on_an_unknown_user_say_so(storage: Storage) -> None:
    assert not await storage.users.disable("nobody")
    assert not await storage.users.enable("nobody")
    assert not await storage.users.delete("nobody")
    assert not await storage.users.set_scopes("nobody", None)
    assert await storage.users.get("nobody") is None
    assert await storage.users.get_by_subject("nobody") is None


async def test_an_account_that_is_kept_elsewhere_is_made_once(storage: Storage) -> None:
    made = await asyncio.gather(*(storage.users.add("Alice", scopes=("read",)) for _ in range(10)))
    assert len({user.subject for user in made}) == 1
    again = await storage.users.add("alice", scopes=None)
    assert (again.name, again.scopes) == ("Alice", ("read",))


async def test_a_renamed_user_stays_who_they_are(storage: Storage) -> None:
    user = await add_user(storage)
    other = await add_user(storage, "bob")
    assert await storage.users.rename("ALICE", "Alice Smith")
    renamed = await storage.users.get("alice smith")
    assert renamed == replace(user, name="Alice Smith")
    assert await storage.users.get("alice") is None
    assert await storage.users.rename("alice smith", "ALICE SMITH")  # another case of their own name
    assert not await storage.users.rename("alice smith", "BOB")
    assert not await storage.users.rename("alice", "carol")
    assert [found.name for found in await storage.users.all()] == ["ALICE SMITH", other.name]


async def test_of_two_users_that_want_one_name_one_gets_it(storage: Storage) -> None:
    for name in ("alice", "bob"):
        await add_user(storage, name)
    outcomes = await asyncio.gather(*(storage.users.rename(name, "carol") for name in ("alice", "bob")))
    assert sorted(outcomes) == [False, True]


async def test_the_subject_of_an_invitation_is_that_of_its_account(storage: Storage) -> None:
    await storage.users.add_invitation(b"new", "alice", scopes=None, lifetime_seconds=100)
    found = await storage.users.get_invitation(b"new")
    assert found is not None
    user = await storage.users.claim_invitation(b"new", name="", credential=None)
    assert user is not None
    assert user.subject == found.subject
    assert await storage.sign_ins.list_credentials(user.subject) == {}
    await storage.users.add_invitation(b"again", "ALICE", scopes=None, lifetime_seconds=100)
    found = await storage.users.get_invitation(b"again")
    assert found is not None
    assert found.subject == user.subject


async def test_scopes_of_a_user_are_set_and_unset(storage: Storage) -> None:
    await add_user(storage)
    for scopes in (("read", "write"), None):
        assert await storage.users.set_scopes("alice", scopes)
        user = await storage.users.get("alice")
        assert user is not None
        assert user.scopes == scopes
