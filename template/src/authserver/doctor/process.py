"""What doctor says of what this process may do, where a service or a container holds it back.

The kernel says it, whatever files say: this is what a server that was turned could do. Where nothing holds it
back on purpose, as on the machine of a developer, there is nothing to judge.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from authserver.findings import Finding, unsafe
from authserver.settings import CoreSettings

_STATUS = Path("/proc/self/status")
# Of the service by systemd, which hands its keys on there; of a container by our Dockerfile.
_HELD_BACK = ("CREDENTIALS_DIRECTORY", "container")


def unfenced_process(settings: CoreSettings) -> Iterator[Finding]:
    """Find that what runs as a service or in a container could do more than the shipped one could.

    Source: NIST SP 800-53, control AC-6; CWE-250.
    """
    del settings
    if not any(name in os.environ for name in _HELD_BACK) or not _STATUS.is_file():
        return
    status = dict(re.findall(r"^(\w+):\s*(\S+)", _STATUS.read_text(encoding="ascii"), re.MULTILINE))
    judged = {
        "it could get more rights by a program such as sudo (NoNewPrivs)": status.get("NoNewPrivs") == "1",
        "each call of the kernel is open to it (Seccomp)": status.get("Seccomp") == "2",
        "it could use rights of root (CapBnd)": int(status.get("CapBnd", "0"), 16) == 0,
        "it can write to the root of the file system": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
    }
    for what, held in judged.items():
        if not held:
            yield unsafe("process", what, "Run it with the unit, compose file or manifests of deploy/")


RULES = (unfenced_process,)
