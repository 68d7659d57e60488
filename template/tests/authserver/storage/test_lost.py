"""A store that is emptied, replaced or loses its check value under a running server is an error, not new."""

from collections.abc import Awaitable, Callable

import pytest
from conftest import new_store
from engines import Engine

from authserver import choices, clock
from authserver.all_settings import Settings
from authserver.crypto.keys import load_keys
from authserver.crypto.secret_values import new_seed
from authserver.settings import SettingsError
from authserver.storage import Storage
from authserver.storage.errors import StorageLost
from authserver.storage.facts import CHECK, IDENTITY
from storage import add_client, granted, purge, redeem, rotate

pytestmark = pytest.mark.anyio

Operation = Callable[[Storage], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "ping": lambda storage: storage.ping(),
    "a client": lambda storage: storage.clients.get("client"),
    "a registration": add_client,
    "a user": lambda storage: storage.users.get("alice"),
    "a credential": lambda storage: storage.sign_ins.get_credential("x", "password"),
    "a fact": lambda storage: storage.facts.remember("signing key 1", b"another"),
    "facts": lambda storage: storage.facts.all(""),
    "an invitation": lambda storage: storage.users.add_invitation(
        b"link", None, scopes=["*"], lifetime_seconds=60
    ),
    "a code": lambda storage: redeem(storage, new_seed()),
    "a refresh": lambda storage: rotate(storage, new_seed()),
    "a call": lambda storage: storage.grants.get_access_token(new_seed()),
    "revocations": lambda storage: storage.grants.list_revocations(None),
    "a purge": purge,
}


async def pinned(storage: Storage, store: dict[str, str]) -> Storage:
    await granted(storage)
    await load_keys(Settings.model_validate(store), storage)
    await storage.ping()
    return storage


@pytest.fixture
async def other(store: dict[str, str]) -> Storage:
    """Somebody else with the same store, who is not told."""
    return choices.storage.create(Settings.model_validate(store))


@pytest.mark.parametrize("lost", ["the check value", "the identity"])
async def test_a_store_that_lost_itself_answers_nothing(
    storage: Storage, other: Storage, store: dict[str, str], lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 34: a store that was emptied under the server. Source: fault 33, seen on 0.2.0."""
    await pinned(storage, store)
    await other.open()
    try:
        name = IDENTITY if lost == "the identity" else f"{CHECK}1"
        value = await other.facts.recall(name)
        assert await other.facts.forget(name)
        later = clock.elapsed() + 2  # an engine may believe it for a second
        monkeypatch.setattr(clock, "elapsed", lambda: later)
        for operation in OPERATIONS.values():
            with pytest.raises(StorageLost, match="Restore the latest backup"):
                await operation(storage)
        # Whoever puts back what it was makes it whole.
        await other.facts.remember(name, value or b"")
        assert await storage.clients.get("client")
    finally:
        await other.close()


async def test_another_store_in_its_place_is_none(
    storage: Storage, other: Storage, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 34: the next invitation to an emptied store may grant everything. Source: fault 33."""
    await pinned(storage, store)
    await other.open()
    try:
        assert await other.facts.forget(IDENTITY)
        assert await other.facts.forget(f"{CHECK}1")
        await load_keys(Settings.model_validate(store), other)  # it is taken for new
        later = clock.elapsed() + 2
        monkeypatch.setattr(clock, "elapsed", lambda: later)
        with pytest.raises(StorageLost):
            await storage.users.add_invitation(b"link", None, scopes=["*"], lifetime_seconds=60)
        assert await other.clients.get("client")
    finally:
        await other.close()


async def test_no_key_is_made_for_a_store_that_lost_its_check_value(
    storage: Storage, store: dict[str, str]
) -> None:
    """Attack 34: let a server take any secret key for that of the store. Source: fault 33, its siblings."""
    await pinned(storage, store)
    fresh: Storage = choices.storage.create(Settings.model_validate(store))
    await fresh.open()
    try:
        await fresh.facts.forget(f"{CHECK}1")
        with pytest.raises(SettingsError, match="AUTH_SECRET_KEY"):
            await load_keys(Settings.model_validate(store), fresh)
    finally:
        await fresh.close()


async def test_an_empty_store_starts_nothing_where_there_was_one(
    storage: Storage, other: Storage, store: dict[str, str], engine: Engine
) -> None:
    """Attack 34: let a new process, or a command, begin in a store that was emptied. Source: CWE-1188."""
    settings = Settings.model_validate(store | {"new_store": False})
    with pytest.raises(SettingsError, match="AUTH_NEW_STORE: it is false, and the store is empty"):
        await load_keys(settings, storage)
    assert await storage.facts.all("") == {}
    assert settings.made_key_path is None or not settings.made_key_path.exists()
    # The first start says that it may; from then on it need not.
    await load_keys(Settings.model_validate(store), storage)
    await other.open()
    try:
        await load_keys(settings, other)
        await granted(other)
        emptied = new_store(engine) | {"new_store": False}
        if key := settings.made_key_path:
            emptied["secret_key"] = key.read_text()
        restored: Storage = choices.storage.create(Settings.model_validate(emptied))
        await restored.open()
        try:
            await restored.fill(other.dump())
            await load_keys(Settings.model_validate(emptied), restored)
        finally:
            await restored.close()
    finally:
        await other.close()


async def test_another_secret_key_and_a_restore_are_no_loss(
    storage: Storage, store: dict[str, str], engine: Engine
) -> None:
    await pinned(storage, store)
    await storage.facts.remember(f"{CHECK}2", b"that of the next key")
    await storage.facts.forget(f"{CHECK}1")
    assert await storage.clients.get("client")
    restored: Storage = choices.storage.create(Settings.model_validate(new_store(engine)))
    await restored.open()
    try:
        await restored.fill(storage.dump())
        await restored.pin()
        assert await restored.clients.get("client")
    finally:
        await restored.close()
