"""Credentials, tickets, limits on attempts, sessions: what happens once, happens once."""

import asyncio

import pytest

from authserver.storage import Storage
from authserver.storage.sign_ins import Bucket
from authserver.storage.users import Ending
from storage import MOMENT, add_user, sign_in

pytestmark = pytest.mark.anyio


async def test_a_credential_is_replaced_only_by_who_read_the_current_one(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    puts = [
        storage.sign_ins.put_credential(subject, "password", str(number).encode(), counter=1)
        for number in range(20)
    ]
    assert sum(await asyncio.gather(*puts)) == 1
    assert not await storage.sign_ins.put_credential(subject, "password", b"", counter=0)
    assert await storage.sign_ins.put_credential(subject, "totp", b"seed", counter=0)
    assert not await storage.sign_ins.put_credential("nobody", "totp", b"seed", counter=0)


async def test_credentials_are_listed_and_deleted_one_by_one(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    for kind in ("passkey:one", "passkey:two"):
        assert await storage.sign_ins.put_credential(subject, kind, kind.encode(), counter=0)
    found = await storage.sign_ins.list_credentials(subject)
    assert list(found) == ["passkey:one", "passkey:two", "password"]
    assert found["passkey:two"].value == b"passkey:two"
    assert await storage.users.end_access(subject, Ending(delete=["passkey:one"])) == 1
    assert await storage.users.end_access(subject, Ending(delete=["passkey:one"])) == 2  # there is none
    assert list(await storage.sign_ins.list_credentials(subject)) == ["passkey:two", "password"]
    assert await storage.sign_ins.put_credential(subject, "passkeys", b"", counter=0)
    assert await storage.users.end_access(subject, Ending(delete=["other", "passkey:", "pass"])) == 3
    assert list(await storage.sign_ins.list_credentials(subject)) == ["passkeys", "password"]
    assert await storage.users.end_access("nobody", Ending(delete=["password"])) is None


async def test_of_credentials_that_are_deleted_only_beside_others_one_is_left(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    kinds = [f"passkey:{number}" for number in range(10)]
    for kind in kinds:
        assert await storage.sign_ins.put_credential(subject, kind, b"", counter=0)
    deletions = (
        storage.users.end_access(subject, Ending(delete=[kind], beside="passkey:")) for kind in kinds
    )
    assert sum(epoch is not None for epoch in await asyncio.gather(*deletions)) == 9
    left, password = await storage.sign_ins.list_credentials(subject)
    assert (left in kinds, password) == (True, "password")
    assert await storage.users.end_access(subject, Ending(delete=[left], beside="passkey:")) is None
    assert await storage.users.end_access(subject, Ending(delete=[left], beside="password")) == 10
    assert await storage.users.end_access(subject, Ending(delete=[left], beside="password")) is None


async def test_a_ticket_is_taken_once_and_in_time(storage: Storage) -> None:
    """Attack 13: use a one-time value twenty times at once. Source: Keycloak CVE-2026-4282."""
    await storage.sign_ins.add_ticket(b"one", b"\x00value", lifetime_seconds=100)
    await storage.sign_ins.add_ticket(b"brief", b"value", lifetime_seconds=MOMENT)
    takes = await asyncio.gather(*(storage.sign_ins.take_ticket(b"one") for _ in range(20)))
    assert [taken for taken in takes if taken is not None] == [b"\x00value"]
    await asyncio.sleep(2 * MOMENT)
    assert await storage.sign_ins.take_ticket(b"brief") is None
    assert await storage.sign_ins.take_ticket(b"unknown") is None


async def test_attempts_beyond_the_burst_wait_and_are_not_counted(storage: Storage) -> None:
    """Attack 10: guess many times at once. Source: NIST SP 800-63B 5.2.2."""
    bucket = Bucket(b"alice", burst=3, interval_seconds=100)
    other = Bucket(b"bob", burst=100, interval_seconds=100)
    waits = await asyncio.gather(*(storage.sign_ins.take_attempt([bucket, other]) for _ in range(20)))
    assert sorted(wait > 0 for wait in waits) == [False] * 3 + [True] * 17
    assert all(wait <= 100 for wait in waits)
    # Refused attempts counted nowhere: the other bucket has room for 97 more.
    later = await asyncio.gather(*(storage.sign_ins.take_attempt([other]) for _ in range(97)))
    assert not any(later)
    assert await storage.sign_ins.take_attempt([other]) > 0


async def test_a_returned_attempt_is_free_again(storage: Storage) -> None:
    bucket = Bucket(b"alice", burst=1, interval_seconds=100)
    for _ in range(5):
        assert await storage.sign_ins.take_attempt([bucket]) == 0
        await storage.sign_ins.return_attempt([bucket])
    assert await storage.sign_ins.take_attempt([bucket]) == 0
    assert await storage.sign_ins.take_attempt([bucket]) > 0


async def test_a_bucket_is_used_until_it_is_full_again(storage: Storage) -> None:
    long, brief = Bucket(b"long\x00", 1, 100), Bucket(b"brief", 1, MOMENT)
    assert await storage.sign_ins.used_buckets([]) == set()
    assert await storage.sign_ins.take_attempt([long, brief]) == 0
    assert await storage.sign_ins.used_buckets([b"long\x00", b"other"]) == {b"long\x00"}
    await asyncio.sleep(2 * MOMENT)
    assert await storage.sign_ins.used_buckets({b"long\x00", b"brief"}) == {b"long\x00"}
    # To ask counts nothing.
    assert await storage.sign_ins.take_attempt([brief]) == 0


async def test_a_session_ends_by_sign_out_and_by_time(storage: Storage) -> None:
    user = await add_user(storage)
    await sign_in(storage, user, b"one")
    await sign_in(storage, user, b"two", seconds=MOMENT)
    found = await storage.sign_ins.get_session(b"one")
    assert found is not None
    assert found.user_name == "alice"
    await storage.sign_ins.end_session(b"one")
    await asyncio.sleep(2 * MOMENT)
    assert await storage.sign_ins.get_session(b"one") is None
    assert await storage.sign_ins.get_session(b"two") is None
    assert not await storage.sign_ins.add_session(
        b"three", "nobody", epoch=0, device="Firefox", lifetime_seconds=100, limit=10
    )
    assert await storage.sign_ins.get_session(b"three") is None


async def test_sessions_of_a_user_are_listed_and_ended_together(storage: Storage) -> None:
    user, other = await add_user(storage), await add_user(storage, "bob")
    for digest in (b"one", b"two", b"three"):
        await sign_in(storage, user, digest, device=digest.decode())
        await asyncio.sleep(0.002)
    await sign_in(storage, user, b"past", device="past", seconds=0)
    await sign_in(storage, other, b"foreign", device="x")
    listed = await storage.sign_ins.list_sessions(user.subject)
    assert [(session.digest, session.device) for session in listed] == [
        (b"one", "one"),
        (b"two", "two"),
        (b"three", "three"),
    ]
    assert await storage.users.end_access(user.subject, Ending(session=b"two", keep=True))
    assert [session.digest for session in await storage.sign_ins.list_sessions(user.subject)] == [b"two"]
    assert await storage.users.end_access(user.subject, Ending())
    assert await storage.sign_ins.list_sessions(user.subject) == []
    assert await storage.sign_ins.get_session(b"foreign") is not None
