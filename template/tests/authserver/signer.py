"""Somebody with a key of their own, who signs files as the maintainers do."""

import shutil
import subprocess
from pathlib import Path

import pytest

OPTIONS = 'namespaces="git,authserver-advisory,authserver-signers"'

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="not done here: signatures (ssh-keygen is not here)"
)


class Signer:
    """A key pair, made for one test."""

    def __init__(self, folder: Path, name: str = "maintainers") -> None:
        self.key = folder / name
        words = ("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key))
        subprocess.run(["ssh-keygen", *words], check=True)
        self.line = f"{name} {OPTIONS} {self.key.with_suffix('.pub').read_text()}"
        """What a project lists to know this signer."""

    def sign(self, path: Path, purpose: str = "authserver-advisory") -> Path:
        """Write the signature of a file beside it; return its path."""
        signature = path.with_name(f"{path.name}.sig")
        signature.unlink(missing_ok=True)
        words = ("-Y", "sign", "-q", "-f", str(self.key), "-n", purpose, str(path))
        subprocess.run(["ssh-keygen", *words], check=True, capture_output=True)
        return signature
