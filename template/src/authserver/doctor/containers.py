"""What doctor says of the files in `deploy` that run containers: each line that was shipped and is gone."""

import re
from collections.abc import Iterator

from authserver.findings import Finding, unsafe
from authserver.folders import FOLDERS
from authserver.settings import CoreSettings

# In each file, and in compose.yaml for each service: the lines that hold a container back.
_SHIPPED = {
    "container/Dockerfile": ("USER 10001:10001",),
    "container/compose.yaml": (
        "read_only: true",
        "cap_drop: [ALL]",
        'security_opt: ["no-new-privileges:true"]',
        "pids_limit: 256",
    ),
    "kubernetes/deployment.yaml": (
        "automountServiceAccountToken: false",
        "enableServiceLinks: false",
        "runAsNonRoot: true",
        "type: RuntimeDefault",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
    ),
    "kubernetes/networkpolicy.yaml": ("policyTypes: [Ingress, Egress]",),
}
# What opens a container, wherever it stands. Caddy may have one capability, for its port.
_OPENING = re.compile(
    r"(privileged|hostNetwork|hostPID|hostIPC): true|hostPath:|(network_mode|pid|ipc|userns_mode):"
    r"|cap_add:(?! \[NET_BIND_SERVICE\]$)|devices:|USER (0|root)\b|user: .?(0|root)\b|.*docker\.sock"
    r"|.*(seccomp|apparmor)[:=]\s*.?unconfined"
)


def weaker_container(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a container may do more than the one that was shipped.

    Source: NIST SP 800-190 section 4.4, Kubernetes Pod Security Standards (restricted).
    """
    del settings
    for name, shipped in _SHIPPED.items():
        file = FOLDERS.project and FOLDERS.project / "deploy" / name
        if not file or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        for part in _services(text) if name.endswith("compose.yaml") else [text]:
            lines = {line.split(" #")[0].strip().removeprefix("- ") for line in part.splitlines()}
            of = part.partition(":")[0].strip() + " " if part is not text else ""
            for line in shipped:
                if line not in lines:
                    yield unsafe(f"deploy/{name}", f"{of}{line} is gone", "Write it again")
            for line in sorted(filter(_OPENING.match, lines)):
                yield unsafe(f"deploy/{name}", f"{of}it was shipped without {line}", "Take it out")


def _services(text: str) -> list[str]:
    """Return the part of each service in a compose file."""
    inside = re.split(r"^\S.*$", text.partition("\nservices:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^  \S+:\n(?:(?:    .*|\s*)\n)*", inside, re.MULTILINE)


RULES = (weaker_container,)
