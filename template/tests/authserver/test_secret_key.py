"""A change of the secret key: whoever was logged in stays so, and the last key is worth nothing then."""

from pathlib import Path

import pytest
from conftest import Live, new_person
from oauth_client import OAuthClient, alive
from operators import Operator

from authserver.all_settings import Settings
from authserver.crypto.keys import load_keys
from authserver.crypto.sealing import CannotUnseal, Seal
from authserver.settings import SettingsError
from authserver.storage import Storage
from authserver.storage.errors import StorageUnavailable

NEW = {"secret_key": "a new secret key of the right length"}


FIRST = {"secret_key": "the first secret key, which is long enough"}
BOTH = NEW | {"secret_key_previous": FIRST["secret_key"]}


def test_a_new_secret_key_logs_nobody_out(store: dict[str, str], operator: Operator) -> None:
    server = Live(store | FIRST).start()
    person = new_person(server, "ann")
    client = OAuthClient(server, token_endpoint_auth_method="client_secret_post")
    tokens = client.tokens(person)
    code = client.code(person)
    spent = client.tokens(person)["refresh_token"]
    before = client.refresh(spent).json()
    server.stop()

    server = Live(store | BOTH, server.port).start()
    assert alive(server, tokens["access_token"])
    assert client.refresh(spent).json()["refresh_token"] == before["refresh_token"]  # the same answer again
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert client.redeem(code).status_code == 200
    assert 'name="decision"' in person.get(client.authorization_url()).text  # still signed in
    operator.store = store | BOTH
    assert "AUTH_SECRET_KEY_PREVIOUS can go in 60 seconds" in operator.types("keys", "rewrap")
    server.stop()

    server = Live(store | NEW, server.port).start()
    assert alive(server, tokens["access_token"])
    again = client.refresh(tokens["refresh_token"]).json()
    assert again["refresh_token"] == renewed["refresh_token"]
    assert client.refresh(renewed["refresh_token"]).status_code == 200
    # Too early: what was made with the last key is asked for again. It is no reason to log anybody out.
    answer = client.refresh(spent)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert client.refresh(before["refresh_token"]).status_code == 200
    server.stop()
    operator.store = store | FIRST
    assert operator.fails("users", "list").startswith("my-server: AUTH_SECRET_KEY: this is not the key")


@pytest.mark.anyio
async def test_without_rewrap_the_last_key_stays_necessary(store: dict[str, str], storage: Storage) -> None:
    await load_keys(Settings.model_validate(store | FIRST), storage)
    keys = await load_keys(Settings.model_validate(store | BOTH), storage)
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: "):
        await load_keys(Settings.model_validate(store | NEW), storage)
    old = await load_keys(Settings.model_validate(store | FIRST), storage)
    assert len({keys.check, old.check, keys.browser, old.browser}) == 4
    # A node that has only the last key cannot repeat what one with the new key answered.
    assert keys.replay(old.new_salt()) == old.replay(old.new_salt())
    with pytest.raises(StorageUnavailable):
        old.replay(keys.new_salt())
    assert len(keys.new_salt()) == 32
    assert len({keys.new_salt() for _ in range(100)}) == 100


@pytest.fixture
def short(tmp_path: Path) -> Path:
    file = tmp_path / "short"
    file.write_text("short")
    return file


@pytest.mark.anyio
async def test_a_short_previous_key_is_refused(store: dict[str, str], storage: Storage, short: Path) -> None:
    for name, value in (("SECRET_KEY_PREVIOUS", "short"), ("SECRET_KEY_PREVIOUS_FILE", str(short))):
        with pytest.raises(SettingsError, match=f"^AUTH_{name}: at least"):
            await load_keys(Settings.model_validate(store | NEW | {name.lower(): value}), storage)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"too short", bytes(44), None], ids=["empty", "line", "short", "zeros", "folder"]
)
async def test_a_key_file_that_holds_no_key_stops_the_start(
    store: dict[str, str],
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
) -> None:
    """Attack 34: a mount that failed, a disk that was full. Source: CWE-1188."""
    file = tmp_path / "secret.key"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    monkeypatch.setattr(Settings, "made_key_path", file)
    settings = Settings.model_validate({name: store[name] for name in store.keys() - {"secret_key"}})
    with pytest.raises(
        SettingsError, match=r"^AUTH_SECRET_KEY: [^\n]*secret\.key (holds no whole key|cannot be read)"
    ):
        await load_keys(settings, storage)
    assert await storage.facts.all("") == {}


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"\n", bytes(44), b"\xff" * 44, None])
async def test_a_given_file_that_holds_no_key_stops_the_start(
    store: dict[str, str], storage: Storage, tmp_path: Path, content: bytes | None
) -> None:
    """Attack 34: a mount that failed, a disk that was full. Source: CWE-1188."""
    file = tmp_path / "given"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    without = {name: store[name] for name in store.keys() - {"secret_key"}}
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY_FILE: [^\n]*Example: "):
        await load_keys(Settings.model_validate(without | {"secret_key_file": file}), storage)
    assert await storage.facts.all("") == {}


@pytest.mark.anyio
async def test_a_key_that_cannot_be_made_is_one_line(
    store: dict[str, str], storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "made_key_path", tmp_path / "nowhere" / "secret.key")
    settings = Settings.model_validate({name: store[name] for name in store.keys() - {"secret_key"}})
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: [^\n]* cannot be made [^\n]*Example: "):
        await load_keys(settings, storage)


def test_what_is_sealed_opens_with_its_key_and_for_its_purpose_only() -> None:
    """Attack 26: read sealed values, or put one in the place of another. Source: NIST SP 800-38D, CWE-345."""
    old, new = Seal([b"one"]), Seal([b"two", b"one"])
    sealed = old.seal(b"a private key", "signing key 1")
    assert b"private" not in sealed
    assert sealed != old.seal(b"a private key", "signing key 1")
    assert new.unseal(sealed, "signing key 1") == b"a private key"
    assert (old.is_current(sealed), new.is_current(sealed)) == (True, False)
    assert new.is_current(new.seal(b"", "x"))
    for seal, value, purpose in (
        (Seal([b"two"]), sealed, "signing key 1"),
        (old, sealed, "signing key 2"),
        (old, sealed[:-1], "signing key 1"),
        (old, sealed[:4] + bytes([sealed[4] ^ 1]) + sealed[5:], "signing key 1"),
        (old, sealed[:-1] + bytes([sealed[-1] ^ 1]), "signing key 1"),
        (old, sealed[:10], "signing key 1"),
        (old, b"", "signing key 1"),
    ):
        with pytest.raises(CannotUnseal):
            seal.unseal(value, purpose)
