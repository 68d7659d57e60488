"""Somebody who types commands, and reads what they print."""

import json
import sys
from typing import Any

import pytest

from authserver import cli
from authserver.all_settings import load_settings


class Operator:
    """An operator of one store."""

    def __init__(
        self,
        store: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.store = store
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def at(self, store: dict[str, str]) -> "Operator":
        """Return the operator of another store."""
        return Operator(store, self._monkeypatch, self._capsys)

    def types(self, *words: str) -> str:
        """Run a command that succeeds; return what it printed."""
        return self.warned(*words)[0]

    def warned(self, *words: str) -> tuple[str, str]:
        """Run a command that succeeds; return what it printed, and what it warned of."""
        with pytest.raises(SystemExit) as end:
            self._run(words)
        assert end.value.code in (0, None), end.value.code
        printed = self._capsys.readouterr()
        return printed.out, printed.err

    def fails(self, *words: str) -> str:
        """Run a command that fails; return its one line."""
        with pytest.raises(SystemExit) as end:
            self._run(words)
        assert end.value.code not in (0, None)
        return str(end.value.code)

    def prints(self, *words: str) -> str:
        """Run a command; return what it printed, and its line where it failed."""
        with pytest.raises(SystemExit) as end:
            self._run(words)
        printed = self._capsys.readouterr()
        return f"{printed.out}{printed.err}{end.value.code if isinstance(end.value.code, str) else ''}"

    def rows(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.types(*words, "--json").splitlines()]

    def _run(self, words: tuple[str, ...]) -> None:
        with self._monkeypatch.context() as patch:
            for name, value in self.store.items():
                patch.setenv(f"AUTH_{name.upper()}", value)
            load_settings.cache_clear()
            patch.setattr(sys, "argv", ["my-server", *words])
            patch.setattr("authserver.logs.configure_for_operators", lambda: None)  # pytest has its own
            cli.main()
            sys.exit(0)
