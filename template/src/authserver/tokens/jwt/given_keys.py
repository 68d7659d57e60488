"""Signing keys that the operator gives: from files, or behind a command. They are read at the start."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from authserver.crypto.sealing import Seal
from authserver.settings import SettingsError
from authserver.storage.facts import Facts
from authserver.tokens.jwt.signing import CommandSigner, KeyPair, Signer, UnusableKey, read


class GivenKeys:
    """The KeyRing protocol over files.

    To rotate: publish the next key, restart; sign with it and publish the last one, restart; drop that.
    """

    def __init__(self, signing: Path, command: str | None, published: Sequence[Path]) -> None:
        """Read the keys; raises SettingsError. With a command, `signing` holds the public half only."""
        pair = _read("AUTH_SIGNING_KEY_FILE", signing, private=command is None)
        self.signer: Signer = pair if command is None else CommandSigner(pair, command)
        others = [_read("AUTH_PUBLISHED_KEY_FILES", path, private=False) for path in published]
        self.published = [*(other for other in others if other.kid != pair.kid), pair]

    def find(self, kid: str) -> KeyPair | None:
        """Return the key with that id."""
        return next((key for key in self.published if key.kid == kid), None)

    def open(self, facts: Facts, seal: Seal) -> None:
        """Nothing is stored."""

    async def catch_up(self) -> None:
        """There is nothing to learn."""

    async def rows(self) -> list[dict[str, Any]]:
        """Return the keys."""
        return [
            {"kid": key.kid, "algorithm": key.algorithm, "signs": key.kid == self.signer.kid}
            for key in self.published
        ]

    async def rotate(self, *, at_once: bool) -> str:
        """Refuse."""
        raise SettingsError("AUTH_SIGNING_KEY_FILE: keys that are given are rotated by giving others")

    async def rewrap(self) -> int:
        """Nothing is sealed."""
        return 0


def _read(variable: str, path: Path, *, private: bool) -> KeyPair:
    try:
        pair = read(path.read_bytes())
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror})"
    except UnusableKey as error:
        reason = f"{path}: {error}"
    else:
        if pair.key.is_private == private:
            return pair
        reason = f"{path} must hold a {'private' if private else 'public'} key"
    raise SettingsError(f"{variable}: {reason}. Example: {variable}=/run/secrets/signing_key.pem") from None
