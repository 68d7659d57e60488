"""A bundle by hand, for the tests of `install.py`."""

import hashlib
import json
from pathlib import Path

from signer import Signer

from authserver import install

RELEASE = "20261128T120000Z-1a2b3c4"


class Bundle:
    """A bundle, with a wheel that nobody can install."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheel = folder / "wheels" / "my_server-0.1.0-py3-none-any.whl"
        (folder / "wheels").mkdir(parents=True)
        self.wheel.write_text("a wheel")
        (folder / "requirements.txt").touch()
        self.told: dict[str, object] = {"project": "my-server", "release": RELEASE, "made_at": 1_000_000}
        self.told["target"] = install.target_here()

    def seal(self, signer: Signer | None, **told: object) -> "Bundle":
        """Say what it is, sum up all files, sign that."""
        self.told |= told
        (self.folder / "bundle.json").write_text(json.dumps(self.told))
        sums = self.folder / "SHA256SUMS"
        sums.unlink(missing_ok=True)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        sums.write_text(
            "".join(
                f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(self.folder)}\n"
                for path in files
            )
        )
        if signer:
            signer.sign(sums, "authserver-bundle")
        return self
