"""A machine beside this one: its own root over this one's, its own processes and network, and a real systemd.

It needs Linux and root. What it writes stays in a folder, so that it can be started again.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What is mounted before systemd becomes the first process. $1: the folder; $2: cgroups of its own.
_BOOT = r"""
set -e
mkdir -p "$2" && echo $$ > "$2/cgroup.procs"
exec unshare --cgroup --mount sh -euc '
    mount --make-rprivate /
    mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
    cd "$1/root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount --rbind /dev dev
    mount -t tmpfs -o mode=755 run run
    mount -t tmpfs tmp tmp
    mount -t tmpfs log var/log
    mkdir var/log/nginx
    if test ! -e etc/booted; then
        # Nothing that this machine would start: kernel settings, its clock and its devices are not ours.
        rm -rf lib/systemd/system/*.wants etc/systemd/system/*.wants lib/systemd/system-generators
        touch etc/booted
    fi
    mkdir -p .host
    pivot_root . .host
    umount -l /.host
    mount --make-rshared /  # as on a real machine: systemd hands credentials on so
    ip link set lo up
    exec env -i container=lxc PATH="$PATH" \
        setpriv --bounding-set=-sys_boot,-sys_module,-sys_rawio,-sys_time,-syslog \
        "$3" --system --unit=booted.target --log-target=null
' sh "$@"
"""
_TARGET = """
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service dbus.socket multi-user.target timers.target
"""


class Machine:
    """A machine that runs."""

    def __init__(self, first: int) -> None:
        self._first = str(first)

    def run(self, command: str, *, online: bool = False) -> str:
        """Run a command of a shell there, or there but with this machine's network; return what it prints."""
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", *([] if online else ["--net"])]
        done = subprocess.run(
            ["nsenter", "--target", self._first, *spaces, "sh", "-euc", command],
            env=os.environ | {"PATH": _PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def connected(self, port: int) -> socket.socket:
        """Return a connection to a port of its loopback address."""
        with Path("/proc/self/ns/net").open() as here, Path(f"/proc/{self._first}/ns/net").open() as there:
            setns = ctypes.CDLL(None, use_errno=True).setns
            assert setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                found = socket.socket()
            finally:
                assert setns(here.fileno(), 0) == 0
        found.connect(("127.0.0.1", port))
        return found


def is_allowed() -> bool:
    """Say whether a machine can be started here: many containers forbid it, root's own, too."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return not subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Start a machine; what it had written to its disk in this folder is still there."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(exist_ok=True)
    units = folder / "upper/etc/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    (units / "booted.target").write_text(_TARGET, encoding="utf-8")
    unified = Path("/sys/fs/cgroup/unified")
    own = (unified if unified.exists() else unified.parent) / f"booted-{os.getpid()}"
    spaces = ["--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net"]
    command = ["unshare", *spaces, "sh", "-c", _BOOT, "sh", str(folder), str(own), str(SYSTEMD)]
    with subprocess.Popen(command) as outside:
        try:
            yield Machine(_first_process(outside))
        finally:
            outside.send_signal(signal.SIGKILL)
            outside.wait()
            _remove(own)


def _first_process(outside: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    while True:
        assert outside.poll() is None, "the machine did not start"
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                is_up = ["nsenter", "-t", child, "-m", "-p", "systemctl", "is-active", "booted.target"]
                if subprocess.run(is_up, capture_output=True, check=False).returncode == 0:
                    return int(child)
        time.sleep(0.05)


def _remove(own: Path) -> None:
    """Remove the groups of processes, which are ending."""
    while "populated 1" in (own / "cgroup.events").read_text():
        time.sleep(0.02)
    for path in sorted(own.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if path.is_dir():
            path.rmdir()
    own.rmdir()
