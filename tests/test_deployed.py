"""docs/deploying.md, letter by letter, on a machine with a real systemd: see booted.py."""

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import booted
import effort
import pytest
import trustme
from conftest import Rendered
from oauth_client import OAuthClient, alive
from person import Person
from rendering import DEFAULTS, REPOSITORY, commit, git

DOCUMENT = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
SYSTEMD = DOCUMENT[DOCUMENT.index("\n## systemd") :].split("\n## ")[1]
CONTAINER = DOCUMENT[DOCUMENT.index("\n## Containers") :].split("\n## ")[1]
TLS = DOCUMENT[DOCUMENT.index("\n## TLS without a proxy") :].split("\n## ")[1]
HOST = "mcp.example.com"

# A minute and more: it installs all that a machine needs.
pytestmark = [effort.release, effort.early]

# What a tool could try that somebody has turned: each line must be refused.
PROBE = """
import ctypes, mmap, os, pathlib, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def refused(what):
    try:
        found = what()
    except OSError:
        return True
    return found in (-1, [])
def mapped():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def setuid_program():
    path = pathlib.Path("/tmp/program")
    path.touch()
    path.chmod(0o4755)
tried = {
    "write to the code": lambda: pathlib.Path("/opt/my-server/src/app/server.py").touch(),
    "write to /etc": lambda: pathlib.Path("/etc/mine").touch(),
    "read the settings of root": lambda: os.listdir("/etc/my-server"),
    "read a home": lambda: os.listdir("/root"),
    "read a disk": lambda: [name for name in os.listdir("/dev") if name.startswith(("vd", "sd", "mem"))],
    "see others": lambda: [n for n in os.listdir("/proc") if n.isdigit() and n != str(os.getpid())],
    "read of the kernel": lambda: os.listdir("/proc/sys"),
    "make code": mapped,
    "make a program of another user": setuid_program,
    "be another user": lambda: os.setuid(0),
    "make a namespace": lambda: libc.unshare(0x10000000),
    "speak to the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "speak to another machine": lambda: socket.create_connection(("10.0.0.5", 7), 5),
}
print([name for name, what in tried.items() if not refused(what)])
"""

NEEDED = (str(booted.SYSTEMD), "dbus-daemon", "nginx", "caddy")
MISSING = [name for name in NEEDED if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]

if not booted.is_allowed():
    pytest.skip("only root may start a machine, where it may mount at all", allow_module_level=True)
if MISSING and os.environ.get("CI") != "true":
    pytest.skip(f"{', '.join(MISSING)}: not installed", allow_module_level=True)


@dataclass(frozen=True)
class Site:
    """What nginx answers."""

    url: str = f"https://{HOST}"


def lead(monkeypatch: pytest.MonkeyPatch, machine: booted.Machine) -> None:
    """Let the public name lead to the machine."""

    def create_connection(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        assert address == (HOST, 443)
        return machine.connected(443)

    monkeypatch.setattr(socket, "create_connection", create_connection)


def laid_out(project: Path, folder: Path) -> None:
    """Put there what the page expects: the project in git, with its lock, and the certificate."""
    assert not MISSING, f"not installed: {MISSING}"
    source = shutil.copytree(project, folder / "upper/srv/my-server")
    subprocess.run(["uv", "lock", "--quiet"], cwd=source, check=True)
    git(source, "init", "--quiet")
    commit(source, "Start")
    ssl = folder / "upper/etc/ssl"
    ssl.mkdir(parents=True)
    issued = trustme.CA().issue_cert(HOST)
    issued.cert_chain_pems[0].write_to_path(ssl / f"{HOST}.pem")
    issued.private_key_pem.write_to_path(ssl / f"{HOST}.key")


def test_the_pages_commands_lead_to_a_server_that_survives_a_reboot(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(rendered(DEFAULTS), tmp_path)
    install, keys, units, use = re.findall(r"^```sh\n(.*?)^```$", SYSTEMD, re.MULTILINE | re.DOTALL)
    [proxy] = re.findall(r"^```nginx\n(.*?)^```$", SYSTEMD, re.MULTILINE | re.DOTALL)
    with booted.booted(tmp_path) as machine:
        install = re.sub("^apt-get .*$", "", install, flags=re.MULTILINE)
        machine.run(install.replace(f"https://git.{HOST[4:]}/my-server.git", "/srv/my-server"), online=True)
        machine.run(f"cd /opt/my-server\n{keys}{units}")
        machine.run(
            "rm -f /etc/nginx/sites-enabled/*; systemctl enable --quiet nginx\n"
            f"cat > /etc/nginx/conf.d/my-server.conf <<'END'\n{proxy}END\nsystemctl restart nginx"
        )
        waits(machine)
        lead(monkeypatch, machine)
        link, *said = machine.run(use).splitlines()
        assert "records written to /var/lib/my-server-backups/backup-" in machine.run("journalctl")
        assert said[-1] == "nothing unsafe"
        assert "lies on overlay" in "".join(said)  # a network file system would be seen, and refused
        alice, client = Person(Site()), OAuthClient(Site())
        assert alice.join(link).status_code == 200
        tokens = client.tokens(alice)
        assert alive(Site(), tokens["access_token"])
    with booted.booted(tmp_path) as machine:
        waits(machine)
        lead(monkeypatch, machine)
        assert client.refresh(tokens["refresh_token"]).status_code == 200
        assert machine.run("systemctl --failed --no-legend") == ""
        assert tried(machine) == "[]\n"
        tokens = ends_tls_itself(machine, client, tokens)
        check = contained(machine)
        assert alive(Site(), client.refresh(tokens["refresh_token"]).json()["access_token"])  # by Caddy
        machine.run(f"systemctl stop container; ! ({check}) 2> /run/asked")
        unit = "/etc/systemd/system/my-server.service"
        machine.run(f"sed -i '/^DynamicUser/d; /^User/d; /^# Whom/,$d' {unit}; systemctl daemon-reload")
        # What stands there would be possible without the fences.
        assert tried(machine).count("'") // 2 == len(re.findall('^    "', PROBE, re.MULTILINE))


def ends_tls_itself(machine: booted.Machine, client: OAuthClient, tokens: dict[str, str]) -> dict[str, str]:
    """Do what the page says about TLS without a proxy, and take a new certificate; then go back."""
    [made] = re.findall(r"^```sh\n(.*?)^```$", TLS, re.MULTILINE | re.DOTALL)
    before = machine.run("cat /etc/my-server/env")
    machine.run(f"systemctl stop nginx\ncd /opt/my-server\n{made}")
    waits(machine, at="https://127.0.0.1")
    tokens = client.refresh(tokens["refresh_token"]).json()
    assert alive(Site(), tokens["access_token"])
    assert tried(machine) == "[]\n"
    machine.run("systemctl start my-server-doctor")
    said = machine.run("my-server doctor --backups /var/lib/my-server-backups")
    assert said.splitlines()[-1] == "nothing unsafe"
    first = shown(machine)
    issued = trustme.CA().issue_cert(HOST)
    put = "".join(
        f"cat > /etc/my-server-tls/{name} <<'END'\n{pem.bytes().decode()}END\n"
        for name, pem in (("tls.pem", issued.cert_chain_pems[0]), ("tls.key", issued.private_key_pem))
    )
    machine.run(put)
    machine.run("until journalctl -u my-server | grep -q 'a new certificate is taken'; do sleep 0.1; done")
    assert shown(machine) != first
    assert alive(Site(), tokens["access_token"])
    machine.run(
        "systemctl disable --now --quiet my-server.socket my-server; rm -r /etc/systemd/system/my-server*.d\n"
        f"cat > /etc/my-server/env <<'END'\n{before}END\n"
        "systemctl daemon-reload; systemctl start nginx my-server"
    )
    waits(machine)
    return tokens


def shown(machine: booted.Machine) -> bytes:
    """Return the certificate that the machine shows at port 443."""
    with ssl._create_unverified_context().wrap_socket(machine.connected(443), server_hostname=HOST) as one:
        return one.getpeercert(binary_form=True) or b""


def contained(machine: booted.Machine) -> str:
    """Do what each instruction of the Dockerfile does, with this Python for its base; run it, behind Caddy.

    Return its health check.
    """
    folder = "/opt/my-server/deploy/container"
    text = machine.run(f"cat {folder}/Dockerfile").replace("\\\n", "")
    script = "export PATH=/opt/uv/bin:$PATH\n"
    run: dict[str, str] = {}
    for line in text.splitlines():
        match line.split(" ", 1):
            case "ENV", words:
                script += f"export {words}\n"
            case "WORKDIR", place:
                script += f"mkdir -p {place}; cd {place}\n"
            case "COPY", words if "--from" not in words:
                *names, place = words.split()
                script += "".join(f"cp -r /srv/my-server/{name} {place}\n" for name in names)
            case "RUN", words:
                script += f"{shlex.join(json.loads(words))}\n"
            case "USER" | "ENTRYPOINT" | "CMD" | "HEALTHCHECK" as name, words:
                run[name] = words[max(words.find("["), 0) :]
    machine.run(script, online=True)
    [made] = re.findall(r"^```sh\n(.*?)^```$", CONTAINER, re.MULTILINE | re.DOTALL)
    machine.run(made.replace("/etc/my-server", "/run/made"))
    assert machine.run("stat -c '%a %u' /run/made/secret_key") == "400 10001\n"
    user = run["USER"].split(":")[0]
    words = json.loads(run["ENTRYPOINT"]) + json.loads(run["CMD"])
    last = text[text.rindex("\nFROM ") :]
    given = dict(
        words.split("=", 1) for line in re.findall("^ENV (.*)$", last, re.MULTILINE) for words in line.split()
    )
    given |= {
        "PATH": "/app/.venv/bin:/usr/bin:/bin",
        "AUTH_PUBLIC_URL": f"https://{HOST}",
        "AUTH_TRUSTED_PROXIES": "127.0.0.1",
        "AUTH_SECRET_KEY_FILE": "/run/secrets/secret_key",
    }
    fences = {"ProtectSystem": "strict", "ReadWritePaths": "/data", "PrivateTmp": "yes"}
    # A number that no user has, as in a container.
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all"]
    machine.run(
        "systemctl stop my-server nginx\n"
        "cp -r /var/lib/private/my-server/. /data; install -d /run/secrets\n"
        f"chown -R {user}:{user} /data\n"
        f"install -m 400 -o {user} /etc/my-server/secret_key /run/secrets/secret_key\n"
        "cp /run/made/tls.pem /run/secrets/tls_certificate; cp /run/made/tls.key /run/secrets/tls_key\n"
        + shlex.join(
            ["systemd-run", "--quiet", "--unit=container"]
            + [f"--setenv={name}={value}" for name, value in given.items()]
            + [f"--property={name}={value}" for name, value in fences.items()]
            + [*drop, "--no-new-privs", *words]
        )
    )
    waits(machine, "container")
    check = shlex.join(json.loads(run["HEALTHCHECK"]))
    machine.run(f"PATH=/app/.venv/bin:$PATH; {check}")
    machine.run(
        f"sed 's/server:8000/127.0.0.1:8000/' {folder}/Caddyfile > /run/Caddyfile\n"
        "systemd-run --quiet --unit=tls caddy run --config /run/Caddyfile --adapter caddyfile\n"
        "until ss -tln | grep -q :443; do systemctl --quiet is-active tls; sleep 0.1; done"
    )
    return f"PATH=/app/.venv/bin:$PATH; {check}"


def tried(machine: booted.Machine) -> str:
    """Run the probe as the service would run it; return what was not refused."""
    machine.run(
        f"cat > /opt/probe <<'END'\n{PROBE}END\n"
        "ip address replace 10.0.0.5/32 dev lo\n"
        "systemctl is-active other || systemd-run --quiet --unit=other python3 -c"
        " 'import socket, time; server = socket.create_server((\"10.0.0.5\", 7)); time.sleep(999)'"
    )
    program = "s,/opt/my-server/.venv/bin/my-server,/usr/bin/python3 /opt/probe,"
    return machine.run(f"sed '{program}' /usr/local/sbin/my-server | sh")


def waits(machine: booted.Machine, unit: str = "my-server", at: str = "http://127.0.0.1:8000") -> None:
    """Wait until the server answers; if it ended, say what it said."""
    anybody = "context=ssl._create_unverified_context()"
    ask = f"import ssl, urllib.request as r; r.urlopen('{at}/readyz', {anybody})"
    state = f"systemctl show --property=NRestarts,Result {unit} | sort | tr '\\n' ' '"
    lives = f'test "$({state})" = "NRestarts=0 Result=success " || {{ journalctl -u {unit}; exit 1; }}'
    machine.run(f'until python3 -c "{ask}" 2> /run/asked; do {lives}; sleep 0.1; done')
