"""Each rule of doctor: broken, it is found; a server that is deployed well breaks none."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from conftest import SCOPES
from operators import Operator
from test_doctor import HEALTHY, healthy

from authserver import AuthorizationServer, choices, clock
from authserver.all_settings import Settings
from authserver.doctor import backups, certificate, process, secrets, settings, state, units
from authserver.findings import Finding, Level, judged, judged_live, rule_name
from authserver.folders import FOLDERS
from authserver.model.records import Client
from authserver.storage import Storage

__all__ = ["healthy"]

CALM = {**HEALTHY, "registration": "static", "trusted_proxies": "127.0.0.1", "new_store": "false"}
LONG = "a secret of the right length, which it is"
DAY = 86_400


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No unit of this machine is looked at, and nobody is root."""
    monkeypatch.setattr(units, "_PLACES", (str(tmp_path / "etc"), str(tmp_path / "usr")))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in process._HELD_BACK:
        monkeypatch.delenv(name, raising=False)


def found(rules: Any, *of: Any) -> dict[str, Level]:
    """Return which rules are broken, and how badly."""
    return {finding.rule: finding.level for finding in judged(rules, *of)}


def with_settings(store: dict[str, str], **changed: Any) -> Settings:
    return Settings.model_validate(store | CALM | changed)


# ------------------------------------------------------------------------------------------------ settings

BROKEN: list[tuple[str, Level, dict[str, Any]]] = [
    ("local-address", Level.UNSAFE, {"public_url": "http://127.0.0.1:8000"}),
    ("local-address", Level.UNSAFE, {"public_url": "https://localhost"}),
    ("empty-store-taken", Level.NOTE, {"new_store": True}),
    ("no-proxy", Level.NOTE, {"trusted_proxies": ""}),
    ("wide-proxies", Level.UNSAFE, {"trusted_proxies": "0.0.0.0/0"}),
    ("wide-proxies", Level.UNSAFE, {"trusted_proxies": "10.0.0.1,::/0"}),
    ("wide-proxies", Level.UNSAFE, {"trusted_proxies": "0.0.0.0/8,1.0.0.0/8"}),
    ("wide-proxies", Level.NOTE, {"trusted_proxies": "10.0.0.0/8"}),
    ("wide-proxies", Level.NOTE, {"trusted_proxies": "2001:db8::/47"}),
    ("wide-schemes", Level.NOTE, {"redirect_schemes": "cursor"}),
    ("plain-origin", Level.UNSAFE, {"allowed_origins": "http://inspector.example.com"}),
    ("open-registration", Level.NOTE, {"registration": "open"}),
    ("remembered-long", Level.NOTE, {"remember_consent_days": 91}),
    ("sign-ins-unlimited", Level.UNSAFE, {"limit_sign_ins_per_minute": 0}),
    ("refreshes-unlimited", Level.NOTE, {"limit_refreshes_per_hour": 0}),
    ("registrations-unlimited", Level.NOTE, {"limit_registrations_per_minute": 0}),
    ("long-access-tokens", Level.UNSAFE, {"access_token_seconds": DAY + 1}),
    ("long-replay", Level.UNSAFE, {"refresh_replay_seconds": 3601, "access_token_seconds": DAY}),
    ("long-grants", Level.NOTE, {"refresh_token_seconds": 91 * DAY}),
    ("long-grants", Level.NOTE, {"grant_seconds": 367 * DAY}),
    ("long-sessions", Level.NOTE, {"session_seconds": 15 * DAY}),
]


@pytest.mark.parametrize(("rule", "level", "changed"), BROKEN)
def test_a_broken_rule_of_the_settings_is_named(
    store: dict[str, str], rule: str, level: Level, changed: dict[str, Any]
) -> None:
    assert found(settings.RULES, with_settings(store)) == {}
    assert found(settings.RULES, with_settings(store, **changed)) == {rule: level}


# ------------------------------------------------------------------------------------- secrets and the code

Break = Callable[[Path, dict[str, Any]], object]


def key_file(folder: Path, changed: dict[str, Any], mode: int = 0o600) -> Path:
    """Let the secret key come from a file."""
    file = folder / "key"
    file.write_text(LONG)
    file.chmod(mode)
    changed["secret_key_file"] = file
    return file


def aged(file: Path, days: float) -> None:
    at = clock.now() - days * DAY
    os.utime(file, (at, at))


def env_file(changed: dict[str, Any], text: str, mode: int) -> None:
    """Write `.env`, and let nothing else be set."""
    changed.clear()
    Path(".env").write_text(text)
    Path(".env").chmod(mode)


def beside_the_data(folder: Path, changed: dict[str, Any]) -> None:
    """Let the key lie where the first start makes it, if this storage makes one."""
    changed["made"] = folder / "secret.key"
    changed["made"].write_text(LONG)
    changed["made"].chmod(0o600)


SECRETS: list[tuple[str, Level, Break]] = [
    ("key-still-changing", Level.NOTE, lambda _, changed: changed.update(secret_key_previous=LONG)),
    ("old-key", Level.NOTE, lambda folder, changed: aged(key_file(folder, changed), 731)),
    ("key-beside-data", Level.NOTE, beside_the_data),
    ("open-env-file", Level.UNSAFE, lambda _, new: env_file(new, f"AUTH_SECRET_KEY={LONG}\n", 0o640)),
    (
        "open-env-file",
        Level.UNSAFE,
        lambda _, new: env_file(new, "AUTH_REGISTRATION=static\n", 0o646),
    ),
    ("open-secret-file", Level.NOTE, lambda folder, changed: key_file(folder, changed, 0o640)),
    ("open-secret-file", Level.UNSAFE, lambda folder, changed: key_file(folder, changed, 0o604)),
    ("open-code", Level.UNSAFE, lambda folder, _: (folder / "src/app/server.py").chmod(0o646)),
    ("open-code", Level.UNSAFE, lambda folder, _: (folder / "src/authserver").chmod(0o777)),
    ("runs-as-root", Level.NOTE, lambda *_: setattr(os, "geteuid", lambda: 0)),
]


@pytest.mark.parametrize(("rule", "level", "broken"), SECRETS)
def test_a_broken_rule_of_secrets_is_named(
    store: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    level: Level,
    broken: Break,
) -> None:
    """Attack 26: read a key, or change the code, as another user of the machine. Source: CWE-732."""
    store.pop("secret_key", None)
    for name in ("app", "authserver"):
        (tmp_path / "src" / name).mkdir(parents=True)
        (tmp_path / "src" / name / "server.py").touch(0o644)
    monkeypatch.setattr(FOLDERS, "source", tmp_path / "src")
    changed: dict[str, Any] = {"secret_key_file": tmp_path / "none"}
    assert found(secrets.RULES, with_settings(store, **changed)) == {}
    broken(tmp_path, changed)
    made = changed.pop("made", None)
    if made is not None:
        changed.clear()
        monkeypatch.setattr(Settings, "made_key_path", made)
        aged(made, 1)
    assert found(secrets.RULES, with_settings(store, **changed)) == {rule: level}


# ------------------------------------------------------------------------------------------ the certificate


@pytest.mark.parametrize(
    ("days", "broken"),
    [
        (90, {}),
        (31, {}),
        (29, {"certificate-ends": Level.NOTE}),
        (6, {"certificate-ends": Level.UNSAFE}),
        (0.01, {"certificate-ends": Level.UNSAFE, "unusable-certificate": Level.UNSAFE}),
    ],
)
def test_it_is_said_how_long_a_certificate_is_good(
    store: dict[str, str], tmp_path: Path, days: float, broken: dict[str, Level]
) -> None:
    # One of a hundred days, of which so many are left.
    Authority().write(tmp_path, "mcp.example.com", begins=days - 100, days=100)
    files = {"tls_certificate_file": tmp_path / "certificate.pem", "tls_key_file": tmp_path / "key.pem"}
    served = with_settings(store, **files)
    assert found(certificate.RULES, served) == broken
    assert found(certificate.RULES, with_settings(store)) == {}
    level = broken.get("certificate-ends")
    of_proxy = found([certificate.proxys_certificate_ends], files["tls_certificate_file"])
    assert of_proxy == ({"proxys-certificate-ends": level} if level else {})


def test_one_that_lives_for_days_only_is_judged_by_its_life(tmp_path: Path) -> None:
    authority, file = Authority(), tmp_path / "certificate.pem"
    for days, level in ((6, None), (1.5, Level.NOTE), (0.5, Level.UNSAFE)):
        authority.write(tmp_path, "mcp.example.com", begins=days - 6, days=6)
        [*judgement] = judged([certificate.proxys_certificate_ends], file)
        assert [finding.level for finding in judgement] == ([level] if level else [])


def test_a_certificate_that_cannot_be_read_is_unsafe(tmp_path: Path) -> None:
    rules = [certificate.proxys_certificate_ends]
    assert found(rules, tmp_path / "none") == {"proxys-certificate-ends": Level.UNSAFE}
    (tmp_path / "none").write_text("none")
    assert found(rules, tmp_path / "none") == {"proxys-certificate-ends": Level.UNSAFE}


def test_the_key_of_a_certificate_is_a_secret(store: dict[str, str], tmp_path: Path) -> None:
    """Attack 26: read the key of the certificate as another user of the machine. Source: CWE-732."""
    Authority().write(tmp_path, "mcp.example.com")
    files = {"tls_certificate_file": tmp_path / "certificate.pem", "tls_key_file": tmp_path / "key.pem"}
    served = with_settings(store, **files)
    assert found([secrets.open_secret_file], served) == {}
    (tmp_path / "key.pem").chmod(0o644)
    assert found([secrets.open_secret_file], served) == {"open-secret-file": Level.UNSAFE}


# ------------------------------------------------------------------------------------------------- backups


def named(hours: float) -> str:
    """Return how a backup of so many hours ago is called."""
    return f"backup-{datetime.fromtimestamp(clock.now() - hours * 3600, UTC):%Y%m%dT%H%M%SZ}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with good backups, the newest of last night."""
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o755)
    for hours in (12, 36, 999):
        file = folder / named(hours)
        file.write_text('{"backup":1}\n["users",{}]\n{"records":1}\n')
        file.chmod(0o600)
    return folder


def newest(folder: Path) -> Path:
    return folder / max(file.name for file in folder.iterdir())


def of_long_ago(folder: Path) -> None:
    """Leave the oldest, as if it had just been copied."""
    for file in sorted(folder.iterdir())[1:]:
        file.unlink()


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("old-backup", shutil.rmtree),
        ("old-backup", lambda folder: [file.unlink() for file in folder.iterdir()]),
        ("old-backup", of_long_ago),
        ("torn-backup", lambda folder: newest(folder).write_text('{"backup":1}\n["users",{}]\n')),
        ("torn-backup", lambda folder: newest(folder).write_text("")),
        ("open-backup", lambda folder: newest(folder).chmod(0o640)),
    ],
)
def test_a_broken_rule_of_backups_is_named(folder: Path, rule: str, broken: Callable[[Path], object]) -> None:
    assert list(backups.check_backups(folder)) == []
    broken(folder)
    assert found(backups.RULES, folder) == {rule: Level.UNSAFE}


@pytest.mark.parametrize(("mebibytes", "level"), [(1000, Level.NOTE), (99, Level.UNSAFE)])
def test_little_room_for_backups_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mebibytes: int, level: Level
) -> None:
    usage = type(shutil.disk_usage(folder))(1 << 40, 0, mebibytes << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert found(backups.RULES, folder) == {"backups-fill-the-disk": level}


def test_backups_and_the_proxys_certificate_are_judged_where_they_are_named(
    healthy: Operator, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_long_ago(folder)
    assert healthy.fails("doctor", "--backups", str(folder), "--certificate", "/nowhere", "--json") == "1"
    told = capsys.readouterr().out
    assert '"rule": "old-backup", "severity": "unsafe"' in told
    assert '"rule": "proxys-certificate-ends", "severity": "unsafe"' in told


# ---------------------------------------------------------------------------------------------- the fences

SHIPPED = f"[Unit]\nDescription=x\n[Service]\nExecStart=/opt/x/bin/x serve\n{units.FENCES.read_text()}"
FENCES = [line for line in units.FENCES.read_text().splitlines() if line and line[0] != "#"]


def loosened(text: str, *drop_ins: str) -> list[Finding]:
    """Return what is found of a unit with these drop-ins."""
    place = Path("etc")
    shutil.rmtree(place, ignore_errors=True)
    (place / "x.service.d").mkdir(parents=True)
    (place / "x.service").write_text(text)
    for number, drop_in in enumerate(drop_ins):
        (place / "x.service.d" / f"{number}.conf").write_text(drop_in)
    [(name, files)] = units.installed([place.absolute()], Path("/opt/x"))
    assert name == "x.service"
    return list(units._weaker(name, units.read(files)))


def test_the_unit_that_was_shipped_is_as_shipped() -> None:
    assert loosened(SHIPPED) == []
    assert (
        loosened(SHIPPED, "[Service]\nEnvironment=A=1\nProtectHome=true\n", "[Unit]\nNoNewPrivileges=no\n")
        == []
    )


@pytest.mark.parametrize("line", FENCES)
def test_each_fence_that_is_gone_is_named(line: str) -> None:
    """Attack 31: do more than the unit allows, after it was loosened. Source: NIST SP 800-53, AC-6."""
    [finding] = loosened(SHIPPED.replace(f"\n{line}\n", "\n"))
    name = line.partition("=")[0]
    assert finding.level == Level.UNSAFE
    assert name in finding.what
    assert finding.do


@pytest.mark.parametrize(
    ("drop_in", "level"),
    [
        ("NoNewPrivileges=no", Level.UNSAFE),
        ("NoNewPrivileges=", Level.UNSAFE),
        ("ProtectSystem=full", Level.UNSAFE),
        ("ProtectHome=read-only", Level.UNSAFE),
        ("MemoryDenyWriteExecute=0", Level.UNSAFE),
        ("PrivateUsers=false", Level.UNSAFE),
        ("CapabilityBoundingSet=CAP_SYS_ADMIN", Level.UNSAFE),
        ("AmbientCapabilities=CAP_NET_BIND_SERVICE", Level.UNSAFE),
        ("SystemCallFilter=", Level.UNSAFE),
        ("IPAddressDeny=", Level.UNSAFE),
        ("IPAddressAllow=any", Level.UNSAFE),
        ("IPAddressAllow=10.0.0.5 0.0.0.0/0", Level.UNSAFE),
        ("IPAddressAllow=10.0.0.5", Level.NOTE),
        ("RestrictAddressFamilies=", Level.UNSAFE),
        ("RestrictAddressFamilies=~AF_PACKET", Level.UNSAFE),
        ("RestrictAddressFamilies=AF_NETLINK", Level.NOTE),
        ("ReadWritePaths=/srv", Level.NOTE),
        ("SupplementaryGroups=docker", Level.NOTE),
        ("User=root", Level.UNSAFE),
        ("User=0", Level.UNSAFE),
        ("ExecStartPre=+/bin/sh -c id", Level.UNSAFE),
    ],
)
def test_a_drop_in_that_loosens_is_named(drop_in: str, level: Level) -> None:
    """Attack 31: do more than the unit allows, by a drop-in. Source: NIST SP 800-53, AC-6."""
    assert [finding.level for finding in loosened(SHIPPED, f"[Service]\n{drop_in}\n")] == [level]


@pytest.mark.parametrize(
    "drop_in", ["RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX", "IPAddressAllow="]
)
def test_a_drop_in_that_tightens_is_none_of_it(drop_in: str) -> None:
    assert loosened(SHIPPED, f"[Service]\n{drop_in}\n") == []


def test_a_command_without_fences_is_still_of_this_project() -> None:
    [finding] = loosened(SHIPPED.replace("ExecStart=", "ExecStart=+"))
    assert finding.level == Level.UNSAFE


def test_the_units_of_the_project_and_of_the_machine_are_found(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.prefix", "/opt/x")
    for folder in ("deploy/systemd", "etc", "usr/x.service.d"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("deploy/systemd/x.service", "usr/x.service", "usr/other.service"):
        (tmp_path / file).write_text(SHIPPED.replace("/opt/x", "/opt/other" if "other" in file else "/opt/x"))
    judged_settings = with_settings(store)
    assert found(units.RULES, judged_settings) == {}
    (tmp_path / "usr/x.service.d/mine.conf").write_text("[Service]\nProtectHome=no\n")
    (tmp_path / "usr/other.service").write_text("[Service]\nExecStart=/opt/other/bin/x\n")
    [finding] = judged(units.RULES, judged_settings)
    assert (finding.about, finding.rule) == ("x.service", "weaker-unit")
    assert "ProtectHome=no" in finding.what
    (tmp_path / "etc/x.service").write_text(SHIPPED)
    (tmp_path / "deploy/systemd/x.service").write_text(SHIPPED.replace("\nPrivateTmp=yes\n", "\n"))
    assert {finding.about for finding in judged(units.RULES, judged_settings)} == {
        "x.service",
        "deploy/systemd/x.service",
    }


HELD = "Name:\tpython\nNoNewPrivs:\t1\nSeccomp:\t2\nCapBnd:\t0000000000000000\n"


@pytest.mark.parametrize("variable", process._HELD_BACK)
@pytest.mark.parametrize(
    ("line", "open_line"),
    [
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        ("Seccomp:\t2", "Seccomp:\t0"),
        ("CapBnd:\t0000000000000000", "CapBnd:\t00000000a80425fb"),
        ("root", "root"),
    ],
)
def test_what_a_process_could_do_is_named(
    store: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    line: str,
    open_line: str,
) -> None:
    """Attack 31: run without the fences, whatever the files say. Source: NIST SP 800-53, AC-6."""
    status, flags = tmp_path / "status", os.ST_RDONLY
    monkeypatch.setattr(process, "_STATUS", status)
    monkeypatch.setattr(os, "statvfs", lambda _: type("Found", (), {"f_flag": flags})())
    status.write_text(HELD.replace(line, open_line))
    if line == "root":
        flags = 0
    judged_settings = with_settings(store)
    assert found(process.RULES, judged_settings) == {}  # nothing holds it back on purpose
    monkeypatch.setenv(variable, "oci")
    [finding] = judged(process.RULES, judged_settings)
    assert (finding.rule, finding.level) == ("unfenced-process", Level.UNSAFE)
    status.write_text(HELD)
    flags = os.ST_RDONLY
    assert found(process.RULES, judged_settings) == {}


# ------------------------------------------------------------------------------------------------- the whole


@pytest.fixture
def deployed(healthy: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """A server as docs/deploying.md leads to it, with a certificate of its own."""
    Authority().write(tmp_path, "mcp.example.com")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/x.service").write_text(SHIPPED)
    monkeypatch.setattr("sys.prefix", "/opt/x")
    healthy.prints("users", "list")  # so that the store is no new one
    files = {"tls_certificate_file": "certificate.pem", "tls_key_file": "key.pem"}
    return healthy.at(healthy.store | CALM | files)


def test_a_server_that_is_deployed_well_breaks_no_rule(deployed: Operator, folder: Path) -> None:
    rows = deployed.rows("doctor", "--backups", str(folder), "--certificate", "certificate.pem")
    assert not [row for row in rows if row["severity"] != "note"]
    rules = (*settings.RULES, *secrets.RULES, *certificate.RULES, *backups.RULES, *units.RULES)
    judged_here = {rule_name(rule) for rule in rules}
    # Where the storage makes the key, it lies beside the data here; a directory of the tests is what it is.
    assert {row["rule"] for row in rows} & judged_here <= {"key-beside-data"}


def test_each_rule_of_these_rooms_is_broken_here() -> None:
    broken = {rule for rule, *_ in (*BROKEN, *SECRETS)}
    assert {rule_name(rule) for rule in (*settings.RULES, *secrets.RULES)} == broken


@pytest.mark.anyio
@pytest.mark.parametrize("axis", choices.__all__)
async def test_each_finding_of_a_choice_has_a_rule(
    store: dict[str, str], storage: Storage, axis: str
) -> None:
    await storage.ping()
    checks: Any = getattr(getattr(choices, axis), "checks", lambda _: ())
    assert all(finding.rule and finding.do for finding in checks(with_settings(store)))


# -------------------------------------------------------------------------------------------------- the store


class _Server:
    """What a rule asks of a server: the keys that sign, as a format lists them."""

    def __init__(self, *made_at: float) -> None:
        self.tokens = self
        self._rows = [{"made_at": at} for at in made_at]

    async def list_keys(self) -> list[dict[str, float]]:
        return self._rows


@pytest.mark.anyio
async def test_an_old_key_that_signs_is_named() -> None:
    now = clock.now()
    for made_at, level in (((), []), ((now - 400 * DAY, now), []), ((now - 367 * DAY,), [Level.NOTE])):
        rules = judged_live([state.old_signing_key], _Server(*made_at))
        assert [finding.level async for finding in rules] == level


@pytest.mark.anyio
async def test_accounts_that_are_missing_and_clients_that_wait_are_named(
    healthy: Operator, storage: Storage
) -> None:
    server = AuthorizationServer(SCOPES, Settings.model_validate(healthy.store))
    await server.open()
    told = {finding.rule async for finding in judged_live(state.RULES, server)}
    assert ("no-accounts" in told) == (not server.login.accounts_elsewhere)
    assert "clients-wait" not in told
    await storage.users.add("alice", scopes=None)
    waiting = Client("waiting", {}, None, "192.0.2.1", 0, None, None)
    await storage.clients.add(waiting, place="192.0.2.1", shares=[])
    told = {finding.rule async for finding in judged_live(state.RULES, server)}
    assert told == {"clients-wait"}
    await server.close()
