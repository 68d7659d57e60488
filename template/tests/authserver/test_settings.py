"""A wrong setting stops the start with one line that names the variable, what is wrong and an example."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from authserver import choices
from authserver.keys import load_keys
from authserver.runtime import open_runtime
from authserver.settings import Settings, SettingsError, load_settings
from authserver.storage import Storage


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH_PUBLIC_URL", "http://example.com"),
        ("AUTH_PUBLIC_URL", "ftp://example.com"),
        ("AUTH_PUBLIC_URL", "example.com"),
        ("AUTH_PUBLIC_URL", ""),
        ("AUTH_PUBLIC_URL", "https://"),
        ("AUTH_PUBLIC_URL", "https://example.com/"),
        ("AUTH_PUBLIC_URL", "https://example.com/path"),
        ("AUTH_PUBLIC_URL", "https://example.com?x"),
        ("AUTH_PUBLIC_URL", "https://example.com#"),
        ("AUTH_PUBLIC_URL", "https://user@example.com"),
        ("AUTH_PUBLIC_URL", "https://Example.com"),
        ("AUTH_PUBLIC_URL", "https://example.com:443"),
        ("AUTH_PUBLIC_URL", "https://example.com:99999"),
        ("AUTH_PUBLIC_URL", "http://127.0.0.1.evil.example"),
        ("AUTH_PUBLIC_URL", "http://localhost.evil.example:8000"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "0"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "-5"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "an hour"),
        ("AUTH_REFRESH_TOKEN_SECONDS", "0"),
        ("AUTH_REFRESH_REPLAY_SECONDS", "-1"),
        ("AUTH_REFRESH_REPLAY_SECONDS", "3600"),
        ("AUTH_REGISTRATION", "closed"),
        ("AUTH_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("AUTH_TRUSTED_PROXIES", "proxy.example"),
        ("AUTH_ALLOWED_ORIGINS", "https://example.com/path"),
        ("AUTH_ALLOWED_ORIGINS", "example.com"),
        ("AUTH_REDIRECT_SCHEMES", "javascript"),
        ("AUTH_REDIRECT_SCHEMES", "https"),
        ("AUTH_REDIRECT_SCHEMES", "not a scheme"),
        ("AUTH_IDLE_CLIENT_DAYS", "0"),
        ("AUTH_LIMIT_SIGN_INS_PER_MINUTE", "-1"),
        ("AUTH_PUBLIC_ULR", "https://example.com"),
    ],
)
def test_a_wrong_setting_is_named_with_an_example(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    line = str(refusal.value)
    assert line.startswith(f"{variable}: ")
    assert "Example: " in line or "Did you mean" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443",
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:8000",
    ],
)
def test_public_urls_are_kept_letter_by_letter(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AUTH_PUBLIC_URL", url)
    assert load_settings().public_url == url


def test_lists_are_separated_by_commas_and_env_files_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("AUTH_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1\nOTHER=1\n")
    monkeypatch.setenv("AUTH_REDIRECT_SCHEMES", "Foo,bar")
    monkeypatch.setenv("AUTH_SOMETHING_OF_YOURS", "1")
    settings = load_settings()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert settings.redirect_schemes == ("foo", "bar")


def test_a_secret_never_stands_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 26: read the key in the message of a start that failed. Source: threat model."""
    monkeypatch.setenv("AUTH_SECRET_KEY", "hush" * 10)
    monkeypatch.setenv("AUTH_SECRET_KEY_FILE", "/nowhere")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert "hush" not in str(refusal.value)
    assert str(refusal.value).startswith("AUTH_SECRET_KEY: ")


# ------------------------------------------------------------------------------------ the secret key


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Settings, Storage]]:
    settings = Settings(data_dir=tmp_path / "data")
    storage: Storage = choices.storage.create(settings)
    await storage.open()
    yield settings, storage
    await storage.close()


@pytest.mark.anyio
async def test_the_first_start_makes_a_key_for_its_owner_only(
    opened: tuple[Settings, Storage],
) -> None:
    """Attack 26: read the key as another user of the machine. Source: RFC 6819 5.1.4.1."""
    settings, storage = opened
    keys = await load_keys(settings, storage)
    file = settings.data_dir / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert await load_keys(settings, storage) == keys
    assert len({keys.replay, keys.browser, keys.names}) == 3
    assert file.read_text() not in repr(keys)


@pytest.mark.anyio
async def test_a_lost_key_stops_the_start_and_makes_no_new_one(
    opened: tuple[Settings, Storage],
) -> None:
    settings, storage = opened
    await load_keys(settings, storage)
    file = settings.data_dir / "secret.key"
    file.unlink()
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: .*secret.key is missing"):
        await load_keys(settings, storage)
    assert not file.exists()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [{"secret_key": "another key of the right length, as it were"}, {"secret_key": "short"}],
)
async def test_a_wrong_or_short_key_stops_the_start(
    opened: tuple[Settings, Storage], change: dict[str, Any]
) -> None:
    settings, storage = opened
    await load_keys(settings, storage)
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: ") as refusal:
        await load_keys(Settings(data_dir=settings.data_dir, **change), storage)
    assert change["secret_key"] not in str(refusal.value)


@pytest.mark.anyio
async def test_the_key_may_come_from_a_file(opened: tuple[Settings, Storage]) -> None:
    settings, storage = opened
    file = settings.data_dir / "mounted"
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY_FILE: cannot be read"):
        await load_keys(Settings(data_dir=settings.data_dir, secret_key_file=file), storage)
    file.write_text("k" * 40 + "\n")
    keys = await load_keys(Settings(data_dir=settings.data_dir, secret_key_file=file), storage)
    by_value = Settings.model_validate({"data_dir": settings.data_dir, "secret_key": "k" * 40})
    assert await load_keys(by_value, storage) == keys


@pytest.mark.anyio
async def test_a_data_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: .* cannot be made .*Example: "):
        await open_runtime(Settings(data_dir=tmp_path / "file"))
