"""What ends access ends what is under way: nothing that was begun in an epoch is stored in the next one.

Each test begins something, ends the access of its user, and goes on. Source of all: OWASP ASVS 5.0 7.4.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from conftest import new_store
from engines import Engine

from authserver import choices
from authserver.all_settings import Settings
from authserver.model.records import User
from authserver.storage import Storage
from authserver.storage.users import Ending, NewCredential
from authserver.storage.verdicts import Gone
from storage import (
    REQUEST,
    add_client,
    add_request,
    add_user,
    again,
    dumped,
    granted,
    lives,
    new_code,
    redeem,
    sign_in,
)

pytestmark = pytest.mark.anyio

End = Callable[[Storage, User], Awaitable[object]]


async def recover(storage: Storage, user: User) -> User | None:
    await storage.users.add_invitation(b"recovery", user.name, scopes=None, lifetime_seconds=100)
    return await storage.users.claim_invitation(b"recovery", name="", credential=("password", b"new"))


async def disable_and_enable(storage: Storage, user: User) -> None:
    assert await storage.users.disable(user.name)
    assert await storage.users.enable(user.name)


ENDS: dict[str, End] = {
    "new password": lambda storage, user: storage.users.end_access(
        user.subject, Ending(put=NewCredential("password", b"new", 1))
    ),
    "new factor": lambda storage, user: storage.users.end_access(
        user.subject, Ending(put=NewCredential("second-factor", b"new", 0))
    ),
    "removed credential": lambda storage, user: storage.users.end_access(
        user.subject, Ending(delete=["password"])
    ),
    "sign-out everywhere": lambda storage, user: storage.users.end_access(user.subject, Ending()),
    "recovery": recover,
    "disabling": disable_and_enable,
}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> End:
    chosen: End = ENDS[request.param]
    return chosen


async def begin(storage: Storage, user: User, epoch: int) -> bool:
    return await storage.sign_ins.add_session(
        b"begun", user.subject, epoch=epoch, device="", lifetime_seconds=100, limit=10
    )


async def epoch_of(storage: Storage, user: User) -> int:
    now = await storage.users.get_by_subject(user.subject)
    assert now is not None
    return now.epoch


async def test_an_epoch_moves_and_ends_sessions_and_links(storage: Storage, end: End) -> None:
    """Attack 12: stay signed in, or keep a link, when access ends. Source: OWASP ASVS 5.0 7.4.3."""
    user = await add_user(storage)
    assert user.epoch == 0
    session = await sign_in(storage, user)
    await storage.users.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100)
    await end(storage, user)
    assert await epoch_of(storage, user) == 1
    assert await storage.sign_ins.get_session(session) is None
    assert await storage.sign_ins.list_sessions(user.subject) == []
    assert await storage.users.get_invitation(b"link") is None
    assert await storage.users.claim_invitation(b"link", name="", credential=("k", b"")) is None
    await end(storage, await add_user(storage, "bob"))  # to whom it is nothing
    assert await epoch_of(storage, user) == 1


async def test_a_sign_in_that_was_begun_before_is_not_finished(storage: Storage, end: End) -> None:
    """Attack 12: show the old password while it is changed. Source: OWASP ASVS 5.0 7.4.3."""
    user = await add_user(storage)
    await end(storage, user)
    assert not await begin(storage, user, epoch=0)
    assert await storage.sign_ins.get_session(b"begun") is None
    assert not await begin(storage, user, epoch=2)
    assert await begin(storage, user, epoch=1)
    assert await storage.sign_ins.get_session(b"begun") is not None


async def test_a_credential_of_before_is_not_stored(storage: Storage, end: End) -> None:
    """Attack 12: enrol a factor or a passkey of one's own by half a sign-in. Source: OWASP ASVS 5.0 7.4.3."""
    user = await add_user(storage)
    session = await sign_in(storage, user)
    await end(storage, user)
    moved = await epoch_of(storage, user)
    mine = NewCredential("passkey:mine", b"", 0)
    assert await storage.users.end_access(user.subject, Ending(epoch=user.epoch, put=mine)) is None
    assert await storage.users.end_access(user.subject, Ending(session=session, put=mine)) is None
    assert await storage.users.end_access(user.subject, Ending(session=session, delete=["password"])) is None
    assert await storage.sign_ins.get_credential(user.subject, "passkey:mine") is None
    assert await epoch_of(storage, user) == moved
    assert await storage.users.end_access(user.subject, Ending(epoch=moved, put=mine)) == moved + 1
    assert await storage.sign_ins.get_credential(user.subject, "passkey:mine") is not None


async def test_a_consent_of_before_gives_no_grant(storage: Storage, end: End) -> None:
    """Attack 12: allow an app by a page that was opened before. Source: OWASP ASVS 5.0 7.4.3."""
    await add_client(storage)
    user = await add_user(storage)
    session, request = await sign_in(storage, user), await add_request(storage)
    await end(storage, user)

    async def consent(session: bytes, code: bytes) -> object:
        return await storage.grants.create(
            request, session=session, scopes=("read",), grant_seconds=100, code=code, code_seconds=100
        )

    assert await consent(session, b"code") is None
    assert await redeem(storage, b"code") == Gone()
    assert await consent(await sign_in(storage, user), b"later") == REQUEST  # it was not consumed


async def test_a_grant_comes_from_a_session_that_is_alive(storage: Storage) -> None:
    """Attack 7, 12: allow an app by a session that was signed out, is over, or is none. Source: CWE-613."""
    await add_client(storage)
    user = await add_user(storage)
    ended, over = await sign_in(storage, user), await sign_in(storage, user, seconds=0)
    await storage.sign_ins.end_session(ended)
    request = await add_request(storage)
    for session in (ended, over, b"none"):
        assert not await storage.grants.create(
            request, session=session, scopes=(), grant_seconds=100, code=session, code_seconds=100
        )
    assert await storage.grants.all() == []


async def test_only_a_living_session_of_the_user_changes_a_credential(storage: Storage) -> None:
    """Attack 12: change a credential by a session that ended, or that is another user's. Source: CWE-613."""
    user, other = await add_user(storage), await add_user(storage, "bob")
    ended, over = await sign_in(storage, user), await sign_in(storage, user, seconds=0)
    foreign = await sign_in(storage, other)
    await storage.sign_ins.end_session(ended)
    for session in (ended, over, foreign, b"none"):
        put = NewCredential("password", b"mine", 1)
        assert await storage.users.end_access(user.subject, Ending(session=session, put=put)) is None
    assert await epoch_of(storage, user) == 0
    password = await storage.sign_ins.get_credential(user.subject, "password")
    assert password is not None
    assert password.value == b"secret"


async def test_the_session_that_ends_all_others_goes_on(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    kept, other = await sign_in(storage, user), await sign_in(storage, user)
    for epoch in (1, 2):
        assert await storage.users.end_access(user.subject, Ending(session=kept, keep=True)) == epoch
    [session] = await storage.sign_ins.list_sessions(user.subject)
    assert (session.digest, session.epoch) == (kept, 2)
    assert await storage.sign_ins.get_session(other) is None
    assert await storage.grants.create(
        await add_request(storage), session=kept, scopes=(), grant_seconds=9, code=b"code", code_seconds=9
    )


async def test_grants_end_with_access_where_that_is_wanted(storage: Storage) -> None:
    """Attack 12, 13: go on by code or token after recovery. Source: OWASP ASVS 5.0 7.4.3."""
    user, tokens = await granted(storage)
    code = await new_code(storage, user)
    other = await new_code(storage, await add_user(storage, "bob"))
    assert await storage.users.end_access(user.subject, Ending()) == 1
    assert len(await storage.grants.all(user.subject)) == 2
    await storage.users.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100)
    again = await storage.users.claim_invitation(b"link", name="", credential=("k", b""), grants=True)
    assert again is not None
    assert again.epoch == 2
    assert await storage.grants.all(user.subject) == []
    assert not await lives(storage, tokens)
    assert await redeem(storage, code) == Gone()
    assert await redeem(storage, other) != Gone()


async def test_of_changes_at_once_one_is_made_in_an_epoch(storage: Storage) -> None:
    """Attack 12: two people change one password at once. Source: CWE-362."""
    user = await add_user(storage)
    changes = (
        storage.users.end_access(
            user.subject, Ending(epoch=0, put=NewCredential("password", b"%d" % number, 1))
        )
        for number in range(20)
    )
    assert sorted(epoch or 0 for epoch in await asyncio.gather(*changes)) == [0] * 19 + [1]
    for counter in (0, 1, 3):
        put = NewCredential("password", b"late", counter)
        assert await storage.users.end_access(user.subject, Ending(put=put)) is None
    assert await epoch_of(storage, user) == 1


async def test_sign_ins_that_race_the_end_of_access_leave_no_session(storage: Storage) -> None:
    """Attack 12: sign in twenty times at once while the password changes. Source: CWE-362."""
    user = await add_user(storage)

    async def sign_in_now(digest: bytes, epoch: int) -> bool:
        return await storage.sign_ins.add_session(
            digest, user.subject, epoch=epoch, device="", lifetime_seconds=100, limit=100
        )

    for epoch in range(10):
        sign_ins = [sign_in_now(b"%d %d" % (epoch, number), epoch) for number in range(20)]
        await asyncio.gather(*sign_ins[:10], storage.users.end_access(user.subject, Ending()), *sign_ins[10:])
        assert await storage.sign_ins.list_sessions(user.subject) == []


async def test_sessions_of_a_user_are_bounded_and_the_oldest_goes(storage: Storage) -> None:
    """Attack 22: fill the store by a right password. Source: threat model."""
    user, other = await add_user(storage), await add_user(storage, "bob")
    bystander = await sign_in(storage, other)

    async def sign_in_now(digest: bytes, limit: int) -> None:
        assert await storage.sign_ins.add_session(
            digest, user.subject, epoch=0, device="", lifetime_seconds=100, limit=limit
        )

    for digest in (b"1", b"2", b"3", b"4", b"5"):
        await sign_in_now(digest, 3)
        await asyncio.sleep(0.002)
    sessions = await storage.sign_ins.list_sessions(user.subject)
    assert [session.digest for session in sessions] == [b"3", b"4", b"5"]
    await asyncio.gather(*(sign_in_now(b"at once %d" % number, 3) for number in range(20)))
    assert len(await storage.sign_ins.list_sessions(user.subject)) == 3
    assert await storage.sign_ins.get_session(bystander) is not None


async def test_a_session_of_another_epoch_is_not_alive(storage: Storage, engine: Engine) -> None:
    """Attack 12: sign in at a node of 0.2.0, which knows no epochs, after access ended. Source: CWE-613."""
    await add_client(storage)
    user = await add_user(storage)
    assert await storage.users.end_access(user.subject, Ending())
    session, request = await sign_in(storage, user), await add_request(storage)
    older = [
        (table, row | {"epoch": 0} if table == "sessions" else row) for table, row in await dumped(storage)
    ]
    other: Storage = choices.storage.create(Settings.model_validate(new_store(engine)))
    await other.open()
    await other.fill(again(older))
    assert await other.sign_ins.get_session(session) is None
    assert await other.sign_ins.list_sessions(user.subject) == []
    assert not await other.grants.create(
        request, session=session, scopes=(), grant_seconds=100, code=b"code", code_seconds=100
    )
    assert await other.users.end_access(user.subject, Ending(session=session)) is None
    await other.close()
