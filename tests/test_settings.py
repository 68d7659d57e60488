"""Whatever a setting is set to: it works, or one line ends the start that names it and gives an example."""

import itertools
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import effort
import pytest
from jinja2 import Environment
from rendering import AXES, choices
from settings_page import example, of_choice

from authserver import AuthorizationServer, Scope, all_settings, tls
from authserver.crypto.keys import configured_key
from authserver.folders import FOLDERS
from authserver.settings import CoreSettings, SettingsError
from authserver.tokens.jwt.signing import make, read

# ldap3 warns where it is imported.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

SECRET = "a secret of the right length, which it is"

# What a start needs of each choice.
NEEDED = {
    "sqlite": {},
    "postgresql": {"STORAGE_URL": "postgresql://name@127.0.0.1/authserver", "SECRET_KEY": SECRET},
    "redis": {"STORAGE_URL": "redis://127.0.0.1:6379/0", "SECRET_KEY": SECRET},
    "password": {},
    "passkey": {},
    "ldap": {
        "LDAP_SERVERS": "ldaps://127.0.0.1",
        "LDAP_BASE": "dc=example,dc=com",
        "LDAP_BIND_DN": "cn=mcp,dc=example,dc=com",
        "LDAP_BIND_PASSWORD": "secret",
    },
    "proxy": {"PROXY_PEERS": "127.0.0.1"},
    "opaque": {},
    "jwt": {},
}

HOSTS = (
    *(
        "https://bücher.example",
        "https://h:",
        "https://h:0",
        "https://h:99999",
        "https://ex ample.com",
        "//h",
    ),
    *("https://-h.example", "https://a..b", "https://*.example.com", "https://[::1", "https://1.2.3.999"),
    *("https://h:443", "https://example.com/path", "https://user@h", "https://[0:0::1]:8443", "h:1", "//h"),
)
ODD = (
    *(
        " x",
        "x ",
        "x\ty",
        "x\x01y",
        "x\ny",
        "\u200bx",
        "\u00a0",
        " ",
        "naïve",
        "~/x",
        "~no-such-user/x",
        ".",
        "/",
    ),
    *(
        "/proc/x",
        "src",
        "src/app",
        ",",
        "''",
        '"x"',
        "{}",
        "[]",
        '"',
        "(" * 2000,
        '{" ": "*"}',
        "-",
        "file:///x",
    ),
)
NUMBERS = ("-1", "0", "1", "1.5", "1e9", "0x10", "NaN", "inf", "9" * 12, "9" * 30, "9" * 5000, "true")

# What works, though it is odd: any text, or any name of a folder.
TEXTS = {"LDAP_BIND_DN", "LDAP_BIND_PASSWORD", "DATA_DIR", "PROXY_GROUPS_SEPARATOR"}
TEXTS |= {"SECRET_KEY", "SECRET_KEY_PREVIOUS", "PROXY_SECRET", "REDIRECT_SCHEMES"}
# What some settings do take of these.
TAKEN = {
    "0": "LIMIT_REGISTRATIONS_PER_MINUTE LIMIT_SIGN_INS_PER_MINUTE REFRESH_REPLAY_SECONDS"
    " LIMIT_REFRESHES_PER_HOUR ANNOUNCE_SCOPES"
    " REMEMBER_CONSENT_DAYS STORAGE_REPLICAS LDAP_START_TLS STORAGE_POOLER NEW_PASSWORD_ENDS_GRANTS"
    " NEW_STORE",
    ",": "ALLOWED_ORIGINS TRUSTED_PROXIES REDIRECT_SCHEMES PUBLISHED_KEY_FILES",
    "{}": "LDAP_GROUP_SCOPES PROXY_GROUP_SCOPES",
    "/": "PROXY_SIGN_OUT_URL",
    "/proc/x": "PROXY_SIGN_OUT_URL",
    "https://example.com/path": "PROXY_SIGN_OUT_URL",
    "https://user@h": "PROXY_SIGN_OUT_URL",
    "https://h:443": "ALLOWED_ORIGINS",
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AUTH_"):
            monkeypatch.delenv(name)
    (tmp_path / "src" / "app").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FOLDERS, "project", tmp_path)
    monkeypatch.setattr(FOLDERS, "source", tmp_path / "src")
    monkeypatch.setenv("HOME", str(tmp_path))


@cache
def all_of(login: str, storage: str, tokens: str) -> Any:
    """Return the settings of a project with these answers, joined as `all_settings.py` does."""
    rooms = [of_choice("login", login), of_choice("storage", storage), of_choice("tokens", tokens)]
    return type("Settings", tuple(dict.fromkeys(rooms)), {})


def begin(chosen: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> CoreSettings:
    """Do what a start does with the settings of these choices before it connects to anything."""
    joined = all_of(chosen["login"], chosen["storage"], chosen["tokens"])
    monkeypatch.setattr(all_settings, "Settings", joined)
    settings: Any = all_settings.load_settings.__wrapped__()
    server = AuthorizationServer([Scope("read", "Read.", default=True)], settings)
    import_module(f"authserver.login.{chosen['login']}").create(server, settings)
    import_module(f"authserver.tokens.{chosen['tokens']}").create(settings)
    import_module(f"authserver.storage.{chosen['storage']}").create(settings)
    for name in ("secret_key", "secret_key_previous"):
        configured_key(f"AUTH_{name.upper()}", getattr(settings, name), getattr(settings, f"{name}_file"))
    assert isinstance(settings, CoreSettings)
    if pair := tls.Pair.of(settings):
        pair.context()
    return settings


COMBINATIONS = [
    {"storage": "sqlite", "login": "ldap", "tokens": "jwt"},
    {"storage": "redis", "login": "proxy", "tokens": "jwt"},
    {"storage": "postgresql", "login": "passkey", "tokens": "opaque"},
    {"storage": "sqlite", "login": "password", "tokens": "opaque"},
]


def test_the_combinations_hold_every_choice() -> None:
    for axis in AXES:
        assert {chosen[axis] for chosen in COMBINATIONS} == set(choices(axis))


@pytest.mark.parametrize(
    "chosen", effort.first(reversed(COMBINATIONS), effort.push), ids=lambda chosen: "-".join(chosen.values())
)
def test_a_setting_that_cannot_work_stops_the_start_with_one_line(
    chosen: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in needed(chosen).items():
        monkeypatch.setenv(variable, value)
    names = sorted({name for axis in AXES for name in of_choice(axis, chosen[axis]).model_fields})
    wrong = []
    for name, value in itertools.product(names, HOSTS + ODD + NUMBERS):
        with monkeypatch.context() as patch:
            # A file with a secret stands in its place.
            patch.delenv(f"AUTH_{name.removesuffix('_file').upper()}", raising=False)
            patch.setenv(f"AUTH_{name.upper()}", value)
            said = refusal(chosen, patch)
        if said is None:
            refused = name.upper() not in TEXTS | {*TAKEN.get(value, "").split()}
            if refused and (value in HOSTS or value in ODD[:9] or value[:2] in ("-1", "0", "99")):
                wrong.append((name, value[:30], "taken"))
        elif not re.fullmatch(r"AUTH_[A-Z_]+: [^\n]+ Example: \S[^\n]+", said) or name.upper() not in said:
            wrong.append((name, value[:30], said))
    assert wrong == []


def needed(chosen: Mapping[str, str]) -> dict[str, str]:
    return {f"AUTH_{name}": value for choice in chosen.values() for name, value in NEEDED[choice].items()}


def refusal(chosen: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return what a start says that ends, None where it goes on; all but a SettingsError is a failure."""
    try:
        begin(chosen, monkeypatch)
    except SettingsError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("chosen", "variables"),
    [
        (3, {"AUTH_SECRET_KEY": SECRET, "AUTH_SECRET_KEY_FILE": "key"}),
        (3, {"AUTH_REFRESH_REPLAY_SECONDS": "60", "AUTH_ACCESS_TOKEN_SECONDS": "60"}),
        (0, {"AUTH_LDAP_BIND_TEMPLATE": "{name}@example.com"}),
        (0, {"AUTH_LDAP_GROUPS_FILTER": "(objectClass=group)"}),
        (0, {"AUTH_TOKEN_ALGORITHM": "RS256", "AUTH_SIGNING_KEY_FILE": "ec.pem"}),
        (0, {"AUTH_SIGNING_KEY_COMMAND": "sign 'it", "AUTH_SIGNING_KEY_FILE": "ec.pem"}),
        (0, {"AUTH_SIGNING_KEY_COMMAND": "/nowhere/sign", "AUTH_SIGNING_KEY_FILE": "public.pem"}),
        (1, {"AUTH_PROXY_GROUPS_HEADER": "remote-user"}),
        (1, {"AUTH_PROXY_USER_HEADER": "Cookie"}),
        (1, {"AUTH_PROXY_PEERS": "0.0.0.0/0"}),
        (1, {"AUTH_STORAGE_URL": "rediss://h:6379/0?ssl_ca_certs=/nowhere"}),
        (2, {"AUTH_STORAGE_URL": "postgresql://h/d?sslrootcert=/nowhere"}),
        (2, {"AUTH_STORAGE_URL": "postgresql://h:99999/d"}),
        (2, {"AUTH_PUBLIC_URL": "https://192.0.2.1"}),
    ],
)
def test_what_contradicts_or_misses_something_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: int, variables: Mapping[str, str]
) -> None:
    private = make("ES256")
    (tmp_path / "ec.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(read(private).key.as_pem(private=False))
    for variable, value in {**needed(COMBINATIONS[chosen]), **variables}.items():
        monkeypatch.setenv(variable, value)
    said = refusal(COMBINATIONS[chosen], monkeypatch) or ""
    assert re.fullmatch(r"AUTH_[A-Z_]+: [^\n]+ Example: \S[^\n]+", said)
    assert any(variable in said for variable in variables)


@pytest.mark.parametrize("chosen", [1, 2])
def test_the_address_of_a_store_may_come_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: int
) -> None:
    """Its password is a secret: no program that a tool starts gets it, and no line of the log."""
    variables = needed(COMBINATIONS[chosen])
    url = variables.pop("AUTH_STORAGE_URL").replace("//", "//name:hush@").replace("name@127", "127")
    file = tmp_path / "storage_url"
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AUTH_STORAGE_URL_FILE", str(file))
    example = r" Example: AUTH_STORAGE_URL(_FILE)?=\S+"
    said = refusal(COMBINATIONS[chosen], monkeypatch) or ""
    assert re.fullmatch(r"AUTH_STORAGE_URL_FILE: cannot be read \(.*\)\." + example, said)
    for wrong in ("", "hush", f"{url}\x00", url.replace("://", ":/")):
        file.write_text(wrong)
        said = refusal(COMBINATIONS[chosen], monkeypatch) or ""
        assert re.fullmatch(r"AUTH_STORAGE_URL: [^\n]+\." + example, said), wrong
        assert "hush" not in said
    file.write_text(f"{url}\n")
    settings: Any = begin(COMBINATIONS[chosen], monkeypatch)
    assert settings.storage_url.get_secret_value() == url
    assert "hush" not in repr(settings)
    monkeypatch.setenv("AUTH_STORAGE_URL", url)
    said = refusal(COMBINATIONS[chosen], monkeypatch) or ""
    assert said.startswith("AUTH_STORAGE_URL: set it or AUTH_STORAGE_URL_FILE, not both.")
    assert "hush" not in said


@pytest.mark.parametrize("combination", list(itertools.product(*map(choices, AXES))), ids="-".join)
@pytest.mark.parametrize("marks", [r"^# (?=AUTH_)", "^# ?"], ids=["of the settings", "all"])
def test_the_example_without_its_comment_marks_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, combination: tuple[str, ...], marks: str
) -> None:
    chosen = dict(zip(AXES, combination, strict=True))
    text = Environment(keep_trailing_newline=True, autoescape=False).from_string(example()).render(chosen)
    (tmp_path / ".env").write_text(re.sub(marks, "", text, flags=re.MULTILINE))
    # What nobody can answer but the operator. The rest is set, too, and says what holds without it.
    for variable, value in needed(chosen).items():
        monkeypatch.setenv(variable, value)
    settings = begin(chosen, monkeypatch)
    (tmp_path / ".env").write_text("")
    assert begin(chosen, monkeypatch) == settings
