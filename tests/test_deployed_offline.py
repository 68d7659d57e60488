"""A bundle and the runbooks on a machine with a real systemd and no network: see booted.py."""

import re
import shutil
import subprocess
from pathlib import Path

import booted
import effort
from conftest import Rendered
from rendering import DEFAULTS, commit
from signer import Signer, needs_ssh_keygen
from test_bundles import OFFLINE, trusted
from test_deployed import MISSING, SYSTEMD, waits
from test_runbooks import commands
from updating import committed

pytestmark = [effort.release, effort.early, needs_ssh_keygen]


def test_what_is_carried_in_is_installed_updated_and_mended(rendered: Rendered, tmp_path: Path) -> None:
    assert not MISSING, f"not installed: {MISSING}"
    project = committed(shutil.copytree(rendered(DEFAULTS), tmp_path / "my-server"))
    made, first, update, back = re.findall(r"^```sh\n(.*?)^```$", OFFLINE, re.MULTILINE | re.DOTALL)
    _, keys, units, _ = re.findall(r"^```sh\n(.*?)^```$", SYSTEMD, re.MULTILINE | re.DOTALL)
    signer = Signer(tmp_path)
    etc, media = tmp_path / "upper/etc/my-server", tmp_path / "upper/media"
    etc.mkdir(parents=True)
    trusted(signer).rename(etc / "bundle_signers")

    def bundled(folder: str) -> None:
        (media / folder).mkdir(parents=True)
        command = made.replace("~/.ssh/id_ed25519", str(signer.key)).replace(
            "/media/usb", f"{media}/{folder}"
        )
        subprocess.run(["sh", "-euc", command], cwd=project, check=True, capture_output=True)

    bundled("usb")
    commit(project, "Later")
    bundled("later")
    with booted.booted(tmp_path) as machine:
        assert "is installed. Restart" in machine.run(first)
        machine.run(f"cd /opt/my-server\n{keys}{units}")
        waits(machine)
        assert "/invite/" in machine.run("my-server users invite alice")
        assert "is installed. Restart" in machine.run(update.replace("/usb/", "/later/"))
        machine.run("systemctl restart my-server")
        waits(machine)
        machine.run("my-server backup /var/lib/my-server-backups/before")
        _, one_back, restore = commands("A failed update")
        assert one_back.startswith(back)
        assert "is installed again" in machine.run(one_back)
        waits(machine)
        machine.run(restore)
        waits(machine)
        machine.run(commands("A leaked key")[0])
        waits(machine)
        look, python = commands("The thousandth day")
        machine.run(look.replace("my-server doctor", "my-server doctor || true") + python)
        # A machine that has nothing but the key and a backup.
        machine.run(
            "my-server backup /var/lib/my-server-backups/last\n"
            "cp /var/lib/my-server-backups/last /media/usb/backup\n"
            "systemctl stop my-server\n"
            "rm -rf /var/lib/private /var/lib/my-server /var/lib/my-server-backups"
        )
        machine.run(commands("A restore on an empty machine")[0])
        waits(machine)
        assert machine.run("systemctl --failed --no-legend") == ""
