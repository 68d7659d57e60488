"""What a project is deployed with, as it is written: only what was chosen, strict, and valid."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import effort
import pytest
import yaml
from conftest import Rendered
from rendering import DEFAULTS, REPOSITORY, Answers, choices, combinations, files, questions, render

from authserver import limits

ANALYZE = shutil.which("systemd-analyze")
CADDY = shutil.which("caddy")
MOST_EXPOSURE = 1.3

needs_systemd = pytest.mark.skipif(
    ANALYZE is None and os.environ.get("CI") != "true", reason="systemd is not installed"
)


def folders(project: Path) -> set[str]:
    return {name.split("/")[1] for name in files(project) if name.startswith("deploy/")}


@pytest.mark.parametrize("chosen", [[], choices("deploy")], ids=len)
def test_only_what_is_chosen_is_there(plain_template: Path, tmp_path: Path, chosen: list[str]) -> None:
    project = render(plain_template, tmp_path / "my-server", deploy=chosen, storage="redis")
    assert folders(project) == set(chosen)
    assert (project / "deploy").exists() == bool(chosen)


def test_who_is_asked_nothing_gets_the_default(default_project: Path) -> None:
    """As does a project of an earlier release: `_exclude` has the same default beside it."""
    assert folders(default_project) == set(questions()["deploy"]["default"])


def test_sqlite_has_nothing_for_kubernetes(plain_template: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a storage that its replicas can share"):
        render(plain_template, tmp_path / "my-server", deploy=["kubernetes"])


# ----------------------------------------------------------------------------------------------- systemd


@needs_systemd
def test_each_service_is_valid_and_hardly_exposed(default_project: Path, tmp_path: Path) -> None:
    assert ANALYZE, "systemd is missing: apt-get install systemd"
    for unit in (default_project / "deploy" / "systemd").glob("*.*"):
        text = unit.read_text(encoding="utf-8")
        (tmp_path / unit.name).write_text(
            re.sub("^ExecStart=/opt/[^ ]*", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        )
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([ANALYZE, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for service in [unit for unit in units if unit.endswith(".service")]:
        command = [ANALYZE, "security", "--offline=true", service]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        [exposure] = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", said)
        assert float(exposure) <= MOST_EXPOSURE, said


def test_requests_are_answered_before_the_service_is_killed(default_project: Path) -> None:
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit(default_project), re.MULTILINE)
    assert int(seconds) > limits.SHUTDOWN_SECONDS


@pytest.mark.parametrize(
    ("storage", "login"), list(zip(cycle(choices("storage")), choices("login"), strict=False))
)
def test_secrets_in_files_are_handed_on_by_systemd(rendered: Rendered, storage: str, login: str) -> None:
    """Those whose files only one name stands for; none is in the unit itself."""
    project = rendered(DEFAULTS | {"storage": storage, "login": login})
    example = (project / ".env.example").read_text(encoding="utf-8")
    secret = set(re.findall(r"^# (AUTH_\w+)_FILE=$", example, re.MULTILINE)) - {"AUTH_SECRET_KEY_PREVIOUS"}
    secret = {name for name in secret if f"# {name}=" in example}
    handed = dict(re.findall(r"^Environment=(AUTH_\w+)_FILE=%d/(\w+)$", unit(project), re.MULTILINE))
    assert handed.keys() == secret
    loaded = set(re.findall(r"^LoadCredential=(\w+):/etc/my-server/\1$", unit(project), re.MULTILINE))
    assert loaded == set(handed.values())


@effort.push
def test_its_user_is_nobody_elses(plain_template: Path, tmp_path: Path) -> None:
    """A static user of that name, such as a database's, would be used as it is; names have 31 letters."""
    name = "a" * 50
    project = render(plain_template, tmp_path / name, project_name=name)
    assert re.findall(r"^User=(.*)$", unit(project), re.MULTILINE) == [f"mcp-{name}"[:31]]


def unit(project: Path) -> str:
    """Return the unit of the server."""
    [found] = [
        path for path in (project / "deploy/systemd").glob("*.service") if "serve\n" in path.read_text()
    ]
    return found.read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------- containers

BY_STORAGE_AND_LOGIN = [DEFAULTS | answers for answers in combinations("storage", "login")]


def command(*words: str) -> None:
    """Run a checker of this environment."""
    words = (str(Path(sys.executable).with_name(words[0])), *words[1:])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lines(dockerfile: Path) -> list[str]:
    """Return the instructions."""
    text = dockerfile.read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("storage", choices("storage"))
def test_an_image_is_made_without_a_shell_and_runs_without_rights(rendered: Rendered, storage: str) -> None:
    folder = rendered(DEFAULTS | {"storage": storage}) / "deploy" / "container"
    # Each RUN is a program of its own, so that none needs a shell.
    command("hadolint", "--ignore", "DL3059", str(folder / "Dockerfile"))
    instructions = lines(folder / "Dockerfile")
    last = instructions[max(at for at, line in enumerate(instructions) if line.startswith("FROM ")) :]
    assert not [line for line in last if line.startswith(("RUN ", "ADD ")) and not line.endswith('"/data"]')]
    assert "USER 10001:10001" in last
    for line in instructions:
        if line.startswith(("RUN ", "CMD ", "ENTRYPOINT ", "HEALTHCHECK ")):
            words = json.loads(line[line.index("[") :])
            assert words[0] not in ("sh", "/bin/sh", "bash"), line
    copied = {name for line in instructions if line.startswith("COPY ") for name in line.split()[1:-1]}
    ignored = (folder / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {name for name in copied if name[0] not in "-/"} == {
        line[1:] for line in ignored if line[:1] == "!"
    }
    assert ignored[1] == "*"


def test_compose_is_what_its_schema_says(rendered: Rendered) -> None:
    written = [str(rendered(answers) / "deploy/container/compose.yaml") for answers in BY_STORAGE_AND_LOGIN]
    command("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *written)


@pytest.mark.parametrize("answers", BY_STORAGE_AND_LOGIN, ids=lambda chosen: "-".join(chosen.values()))
def test_compose_gives_each_container_as_little_as_it_needs(rendered: Rendered, answers: Answers) -> None:
    folder = rendered(answers) / "deploy" / "container"
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["secrets"]) <= set(compose["secrets"]), name
        assert set(service["networks"]) <= set(compose["networks"]), name
        assert set(service.get("depends_on", ())) <= set(compose["services"]), name
        assert not service.get("privileged"), name
    used = [name for service in compose["services"].values() for name in service["secrets"]]
    assert sorted(used) == sorted(compose["secrets"])
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
    server = compose["services"]["server"]
    assert int(server["stop_grace_period"].removesuffix("s")) > limits.SHUTDOWN_SECONDS
    # Whom the server believes is the proxy, and nobody else can get its address.
    proxy = compose["services"]["proxy"]["networks"]["inside"]["ipv4_address"]
    assert server["environment"]["AUTH_TRUSTED_PROXIES"] == proxy
    assert server["environment"].get("AUTH_PROXY_PEERS") == (proxy if answers["login"] == "proxy" else None)
    [net] = compose["networks"]["inside"]["ipam"]["config"]
    assert proxy.startswith(net["subnet"].removesuffix("0/24"))
    assert int(proxy.rpartition(".")[2]) < int(net["ip_range"].removesuffix("/25").rpartition(".")[2])
    variables = set(server["environment"]) | ({"AUTH_DATA_DIR"} if "volumes" in server else set())
    example = (rendered(answers) / ".env.example").read_text(encoding="utf-8")
    assert variables <= set(re.findall(r"^# (AUTH_\w+)=", example, re.MULTILINE))


@pytest.mark.skipif(CADDY is None and os.environ.get("CI") != "true", reason="caddy is not installed")
@pytest.mark.parametrize(("storage", "login"), [("sqlite", "password"), ("redis", "proxy")])
def test_caddy_takes_its_configuration(rendered: Rendered, storage: str, login: str) -> None:
    assert CADDY, "caddy is missing: apt-get install caddy"
    project = rendered(DEFAULTS | {"storage": storage, "login": login})
    done = subprocess.run(
        [CADDY, "adapt", "--config", str(project / "deploy/container/Caddyfile")],
        env=os.environ | {"PORTAL": "10.0.0.7:9091"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr
    assert "/run/secrets/tls_key" in done.stdout


# -------------------------------------------------------------------------------------------- Kubernetes


SERVED = [*zip(choices("storage")[1:], cycle(["ldap", "proxy"]), strict=False)]


@pytest.mark.parametrize(("storage", "login"), SERVED)
def test_manifests_are_valid_and_ask_for_little(
    plain_template: Path, tmp_path: Path, storage: str, login: str
) -> None:
    chosen = {"storage": storage, "login": login}
    project = render(plain_template, tmp_path / "my-server", deploy=["kubernetes"], **chosen)
    folder = project / "deploy" / "kubernetes"
    found = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.iterdir()}
    assert set(found.pop("kustomization.yaml")["resources"]) == set(found)
    valid = [str(folder / name) for name in found]
    command("kubernetes-validate", "--kubernetes-version=1.37", "--strict", *valid)
    for manifest in found.values():
        assert manifest["metadata"]["name"] == "my-server"
    deployment = found["deployment.yaml"]["spec"]
    pod = deployment["template"]["spec"]
    [server] = pod["containers"]
    assert deployment["replicas"] > found["poddisruptionbudget.yaml"]["spec"]["minAvailable"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    document = (REPOSITORY / "docs/deploying.md").read_text(encoding="utf-8")
    [written] = re.findall(r"^```yaml\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    overlay = yaml.safe_load(written)
    assert overlay["resources"] == ["../kubernetes"]
    assert [image["name"] for image in overlay["images"]] == [server["image"]]
    assert [one["name"] for one in overlay["configMapGenerator"]] == [
        source["configMapRef"]["name"] for source in server["envFrom"]
    ]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(server)
    [*_, outwards] = found["networkpolicy.yaml"]["spec"]["egress"]
    assert all(isinstance(one["port"], int) for one in outwards["ports"])
    assert set(found["networkpolicy.yaml"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    drained = server["lifecycle"]["preStop"]["sleep"]["seconds"] + limits.SHUTDOWN_SECONDS
    assert pod["terminationGracePeriodSeconds"] > drained
    [volume] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    files = {variable["value"].rpartition("/")[2] for variable in server["env"] if "value" in variable}
    assert files == {item["path"] for item in volume["items"]}
    labels = deployment["template"]["metadata"]["labels"]
    for name in ("poddisruptionbudget.yaml", "deployment.yaml"):
        assert found[name]["spec"]["selector"]["matchLabels"] == labels
    assert found["service.yaml"]["spec"]["selector"] == labels
    assert found["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"] == labels
