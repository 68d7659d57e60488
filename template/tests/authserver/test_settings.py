"""A wrong setting stops the start with one line that names the variable, what is wrong and an example."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SCOPES
from fastmcp import FastMCP
from starlette.testclient import TestClient

import authserver
from authserver import AuthorizationServer
from authserver.all_settings import Settings, load_settings, unknown_variables
from authserver.crypto.keys import load_keys
from authserver.settings import CoreSettings, SettingsError
from authserver.storage import Storage


@pytest.fixture(autouse=True)
def _required(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the chosen storage cannot start without."""
    for name, value in store.items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH_PUBLIC_URL", "http://example.com"),
        ("AUTH_PUBLIC_URL", "ftp://example.com"),
        ("AUTH_PUBLIC_URL", "example.com"),
        ("AUTH_PUBLIC_URL", "https://bücher.example"),
        ("AUTH_PUBLIC_URL", "https://example.com:"),
        ("AUTH_PUBLIC_URL", "https://example.com:0"),
        ("AUTH_PUBLIC_URL", "https://[0:0::1]"),
        ("AUTH_PUBLIC_URL", "https://[fe80::1%25eth0]"),
        ("AUTH_PUBLIC_URL", "https://0.0.0.0"),
        ("AUTH_PUBLIC_URL", "https://[::]:8443"),
        ("AUTH_PUBLIC_URL", "https://224.0.0.1"),
        ("AUTH_PUBLIC_URL", "https://255.255.255.255"),
        ("AUTH_PUBLIC_URL", f"https://{'a.' * 130}com"),
        ("AUTH_PUBLIC_URL", "https://${HOST}"),
        ("AUTH_SECRET_KEY", "$(openssl rand -base64 32)"),
        ("AUTH_SECRET_KEY_FILE", "$HOME/key"),
        ("AUTH_PUBLIC_URL", " https://example.com"),
        ("AUTH_PUBLIC_URL", '"https://example.com"'),
        ("AUTH_SECRET_KEY_FILE", ""),
        ("AUTH_ACCESS_TOKEN_SECONDS", "9" * 30),
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
        ("AUTH_TRUSTED_PROXIES", "fe80::1%eth0"),
        ("AUTH_REDIRECT_SCHEMES", "javascript"),
        ("AUTH_REDIRECT_SCHEMES", "https"),
        ("AUTH_REDIRECT_SCHEMES", "not a scheme"),
        ("AUTH_REDIRECT_SCHEMES", "javascript:/x"),
        ("AUTH_REDIRECT_SCHEMES", "https://example.com/"),
        ("AUTH_REDIRECT_SCHEMES", "cursor://user@host/"),
        ("AUTH_REDIRECT_SCHEMES", "cursor://host/?x"),
        ("AUTH_REDIRECT_SCHEMES", "cursor:"),
        ("AUTH_IDLE_CLIENT_DAYS", "0"),
        ("AUTH_LIMIT_SIGN_INS_PER_MINUTE", "-1"),
        ("AUTH_PUBLIC_ULR", "https://example.com"),
    ],
)
def test_a_wrong_setting_is_named_with_an_example(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    if variable == "AUTH_SECRET_KEY_FILE":
        monkeypatch.delenv("AUTH_SECRET_KEY", raising=False)
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
    assert CoreSettings().public_url == url


@pytest.mark.parametrize(
    ("item", "instead"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1 alone"),
        ("2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1 alone"),
    ],
)
def test_an_address_in_a_network_is_one_or_the_other(
    monkeypatch: pytest.MonkeyPatch, item: str, instead: str
) -> None:
    monkeypatch.setenv("AUTH_TRUSTED_PROXIES", f"192.0.2.0/255.255.255.0, {item}")
    with pytest.raises(SettingsError, match=rf"^AUTH_TRUSTED_PROXIES: '{item}' is an .*{instead}"):
        load_settings()


@pytest.mark.parametrize(
    ("item", "network"),
    [("::ffff:192.0.2.1", "192.0.2.1/32"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::/0", "::/0")],
)
def test_an_ipv4_address_may_be_written_as_ipv6_has_it(
    monkeypatch: pytest.MonkeyPatch, item: str, network: str
) -> None:
    """As a socket for both kinds names its peers, which are compared as IPv4 addresses."""
    monkeypatch.setenv("AUTH_TRUSTED_PROXIES", item)
    assert [str(network) for network in load_settings().trusted_proxies] == [network]


def test_the_key_before_may_be_what_a_shell_did_not_fill_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 26: know the secret key, since it is an example that no shell saw. Source: CWE-1392.

    Whoever started so has to name it once more, to leave it.
    """
    monkeypatch.setenv("AUTH_SECRET_KEY_PREVIOUS", "$(openssl rand -base64 32)")
    load_settings()
    load_settings.cache_clear()
    monkeypatch.setenv("AUTH_SECRET_KEY", "$(openssl rand -base64 32)")
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: only a shell would"):
        load_settings()


def test_lists_are_separated_by_commas_and_env_files_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("AUTH_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1\nOTHER=1\n")
    monkeypatch.setenv("AUTH_REDIRECT_SCHEMES", "Foo,bar, BAZ://Host/Path")
    monkeypatch.setenv("AUTH_SOMETHING_OF_YOURS", "1")
    settings = load_settings()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert settings.redirect_schemes == ("foo", "bar", "baz://host/Path")


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose makes them of `${VAR:-}`."""
    Path(".env").write_text("AUTH_REGISTRATION=static\nAUTH_SESSION_SECONDS=\n")
    for variable in ("AUTH_IDLE_CLIENT_DAYS", "AUTH_PUBLIC_URL", "AUTH_REGISTRATION", "AUTH_TRUSTED_PROXIES"):
        monkeypatch.setenv(variable, "")
    settings = load_settings()
    assert settings.idle_client_days is None
    assert settings.public_url == Settings.model_fields["public_url"].default
    assert settings.registration == "static"  # of `.env`


def test_a_file_with_settings_that_cannot_be_read_is_one_line() -> None:
    Path(".env").write_bytes(b"AUTH_REGISTRATION=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read \(it is no text\)\. Example: "):
        load_settings()
    Path(".env").unlink()
    Path(".env").mkdir()  # as Docker makes it of a mount of what is not there
    with pytest.raises(SettingsError, match=r"\.env: cannot be read \(it is a folder\)\. Example: "):
        load_settings()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("AUTH_REGISTRATION: static\n", 1),
        ("# mine\n\n\nAUTH REGISTRATION=static\n", 4),
        ('OTHER=1\nAUTH_PUBLIC_URL="https://mcp.example.com\nAUTH_REGISTRATION=static\n', 2),
        ("OTHER='1\nAUTH_REGISTRATION=static\nLAST='\n", 1),
        ("AUTH_REGISTRATION static\n", 1),
        ("\nexport AUTH_REGISTRATION\n", 2),
        ("- AUTH_REGISTRATION=static\n", 1),
        ("set AUTH_REGISTRATION = static now\n", 1),
        ("set AUTH_REGISTRATION=static\n", 1),
        ('set "AUTH_REGISTRATION=static"\n', 1),
        ("set -x AUTH_REGISTRATION static\n", 1),
        ("setx AUTH_REGISTRATION static\n", 1),
        ("setenv AUTH_REGISTRATION static\n", 1),
        ("declare -x AUTH_REGISTRATION=static\n", 1),
        ("$env:AUTH_REGISTRATION=static\n", 1),
        ('# mine\n$Env:AUTH_REGISTRATION = "static"\n', 2),
        ("${env:AUTH_REGISTRATION} = 'static'\n", 1),
        ("env AUTH_REGISTRATION=static\n", 1),
        ("ENV AUTH_REGISTRATION=static\n", 1),
        ("Environment=AUTH_REGISTRATION=static\n", 1),
        ('Environment="AUTH_REGISTRATION=static"\n', 1),
        ("-AUTH_REGISTRATION=static\n", 1),
        ("AUTH-REGISTRATION=static\n", 1),
    ],
)
def test_a_line_that_sets_nothing_stops_the_start(text: str, line: int) -> None:
    """Attack 26: come in by a default, since the line that closes the door is dropped.
    Source: CWE-1188, CWE-636.
    """
    Path(".env").write_text(text)
    with pytest.raises(SettingsError, match=rf"\.env, line {line}: .* Example: AUTH_[A-Z_]+=\S+$") as refusal:
        load_settings()
    assert "static" not in str(refusal.value)


def test_lines_of_other_programs_stop_nothing() -> None:
    Path(".env").write_text(
        "export OTHER\nKEY='a\nb'\n# AUTH_REGISTRATION: x\nAUTHOR=me\nAUTH=1\nMY_AUTH_X=1\nMY_ENV=AUTH_X\n"
        "export AUTH_REGISTRATION=static\n"
    )
    assert load_settings().registration == "static"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("AUTH_TRUSTED_PROXY", "AUTH_TRUSTED_PROXIES"),
        ("AUTH_REGISTER", "AUTH_REGISTRATION"),
        ("AUTH_URL", "AUTH_[A-Z_]*URL"),
        ("auth_origins", "AUTH_ALLOWED_ORIGINS"),
        ("AUTH_Q", "AUTH_[A-Z_]+"),
    ],
)
def test_an_unknown_setting_in_our_own_file_stops_the_start(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(f"{name}=x\n")
    with pytest.raises(SettingsError, match=rf"^{name}: there is no such setting\. Did you mean {meant}\?$"):
        load_settings()
    Path(".env").unlink()
    monkeypatch.setenv(name, "x")  # may be meant for another program
    load_settings()
    assert unknown_variables() == [name]


@pytest.mark.parametrize("content", [b"AUTH_REGISTRATION=\xff\n", b"FASTMCP_LOG_LEVEL=DEBUG\n", None])
def test_fastmcp_reads_no_file_but_ours_and_ends_with_no_traceback(
    content: bytes | None, tmp_path: Path
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    package = project / "src" / "authserver"
    package.mkdir(parents=True)
    elsewhere.mkdir()
    (project / "pyproject.toml").touch()
    for name in ("__init__.py", "folders.py"):
        (package / name).write_bytes((Path(authserver.__file__).parent / name).read_bytes())
    if content is not None:
        (project / ".env").write_bytes(content)
    (elsewhere / ".env").write_text("FASTMCP_LOG_LEVEL=ERROR\n")
    done = subprocess.run(
        [sys.executable, "-c", "import authserver, fastmcp; print(fastmcp.settings.log_level)"],
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if not name.startswith("FASTMCP_")}
        | {"PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "DEBUG" if content and b"DEBUG" in content else "INFO"
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_a_file_of_settings_as_windows_writes_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes("\ufeffAUTH_REGISTRATION=static\r\n".encode())
    assert load_settings().registration == "static"


def test_env_and_relative_files_are_those_of_the_project_wherever_it_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AUTH_REGISTRATION=static\nAUTH_SECRET_KEY_PREVIOUS_FILE=keys/last\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_settings()
    assert settings.registration == "static"
    assert settings.secret_key_previous_file == tmp_path / "keys" / "last"
    Path(".env").write_text("OTHER=1\n")
    load_settings.cache_clear()
    assert load_settings().registration == "static"
    Path(".env").write_text("AUTH_SESSION_SECONDS=60\n")
    load_settings.cache_clear()
    with pytest.raises(SettingsError, match=r"^AUTH_SESSION_SECONDS: .*elsewhere.* is not read.*mv "):
        load_settings()


def test_home_is_found_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUTH_SECRET_KEY_PREVIOUS_FILE", "~/key")
    assert load_settings().secret_key_previous_file == tmp_path / "home" / "key"
    load_settings.cache_clear()
    monkeypatch.setenv("AUTH_SECRET_KEY_PREVIOUS_FILE", "~nobody-of-that-name/key")
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY_PREVIOUS_FILE: ~ stands .*Example: "):
        load_settings()


def test_a_secret_never_stands_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 26: read the key in the message of a start that failed. Source: threat model."""
    monkeypatch.setenv("AUTH_SECRET_KEY", "hush" * 10)
    monkeypatch.setenv("AUTH_SECRET_KEY_FILE", "/nowhere")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert "hush" not in str(refusal.value)
    assert str(refusal.value).startswith("AUTH_SECRET_KEY: ")


# ------------------------------------------------------------------------------------ the secret key


OTHER_KEYS = ["another key of the right length, as it were", "short"]


@pytest.mark.anyio
@pytest.mark.parametrize("other", OTHER_KEYS)
async def test_a_wrong_or_short_key_stops_the_start(
    store: dict[str, str], storage: Storage, other: str
) -> None:
    await load_keys(Settings.model_validate(store), storage)
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: ") as refusal:
        await load_keys(Settings.model_validate(store | {"secret_key": other}), storage)
    assert other not in str(refusal.value)


@pytest.mark.anyio
async def test_the_key_may_come_from_a_file(
    store: dict[str, str], storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pop("secret_key", None)
    monkeypatch.delenv("AUTH_SECRET_KEY", raising=False)
    file = tmp_path / "mounted"
    from_file = Settings.model_validate(store | {"secret_key_file": file})
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY_FILE: cannot be read"):
        await load_keys(from_file, storage)
    file.write_text("k" * 40 + "\n")
    keys = await load_keys(from_file, storage)
    assert await load_keys(Settings.model_validate(store | {"secret_key": "k" * 40}), storage) == keys
    assert len({keys.browser, keys.names, keys.check, *keys.replay_keys.values()}) == 4
    assert "kkkk" not in repr(keys)


def test_every_setting_is_in_the_example_with_its_default() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^# (AUTH_[A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert set(lines) == {f"AUTH_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        if not field.is_required():
            text = (
                ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
            )
            if isinstance(default, bool):
                text = text.lower()
            assert lines[f"AUTH_{name.upper()}"] == text


def test_what_a_tool_starts_inherits_no_secret(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 31: read the secret key in the environment of a program that a tool runs. Source: CWE-526."""
    for name, value in store.items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", value)
    monkeypatch.setenv("AUTH_SECRET_KEY", "k" * 40)
    monkeypatch.setenv("auth_secret_key_previous", "p" * 40)
    monkeypatch.setenv("SECRET_KEY", "of the user's own")
    load_settings.cache_clear()
    server = AuthorizationServer(SCOPES)
    app = FastMCP("app", auth=server).http_app()
    words = [sys.executable, "-c", "import os; print(dict(os.environ))"]
    inherited = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "kkkk" in inherited  # a process that only starts others needs it for them
    with TestClient(app):
        inherited = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert server.settings.secret_key is not None
    assert server.settings.secret_key.get_secret_value() == "k" * 40
    assert "kkkk" not in inherited
    assert "pppp" not in inherited
    assert "of the user's own" in inherited
    assert "AUTH_STORAGE_URL" not in os.environ
    load_settings.cache_clear()
