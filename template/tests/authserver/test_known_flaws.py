"""Known flaws of libraries, from a file: each way in which OSV says which versions have one."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from operators import Operator
from packaging.version import Version

from authserver import clock, limits
from authserver.doctor.known_flaws import installed, is_affected

NOW = 1_800_000_000.0
YESTERDAY = datetime.fromtimestamp(NOW - 86_400, UTC).isoformat().replace("+00:00", ".123456789Z")
HERE = version("uvicorn")


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def flaw(name: str = "uvicorn", **more: object) -> dict[str, Any]:
    """A record of OSV."""
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "versions": [HERE]}
    return {
        "id": "GHSA-1111-2222-3333",
        "aliases": ["CVE-2027-0001"],
        "modified": YESTERDAY,
        "summary": "Reads too much",
        "affected": [affected],
    } | more


Known = Callable[..., Path]


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """Return a function that writes records into a zip, as osv.dev does."""

    def write(*records: object) -> Path:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w") as file:
            for number, record in enumerate(records):
                file.writestr(f"{number}.json", json.dumps(record))
        return path

    return write


def affected(*events: dict[str, str], **more: object) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": events}]} | more


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"versions": ["1.4", "1.5"]}, True),
        ({"versions": ["1.5.0"]}, True),
        ({"versions": ["1.4", "not.a.version"]}, False),
        ({}, True),  # all of them
        (affected({"introduced": "0"}), True),
        (affected({"introduced": "0"}, {"fixed": "1.5"}), False),
        (affected({"introduced": "0"}, {"fixed": "1.5.1"}), True),
        (affected({"introduced": "1.5"}, {"fixed": "1.6"}), True),
        (affected({"introduced": "1.6"}), False),
        (affected({"introduced": "0"}, {"last_affected": "1.5"}), True),
        (affected({"introduced": "0"}, {"last_affected": "1.4.9"}), False),
        (affected({"fixed": "1.5"}, {"introduced": "0"}), False),  # in any order
        (affected({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.4"}), True),
        (affected({"introduced": "0"}, {"limit": "1.0"}), True),
        (affected({"introduced": "soon"}), True),
        (affected({"introduced": "soon"}, versions=["1.4"]), False),
        ({"ranges": [{"type": "GIT", "events": []}], "versions": ["1.4"]}, False),
        ({"ranges": [{"type": "GIT", "events": []}]}, True),
    ],
)
def test_whether_a_version_is_affected(entry: dict[str, Any], expected: bool) -> None:
    """Source: OSV schema 1.7, "Evaluation"."""
    assert is_affected(entry, Version("1.5")) == expected


def test_a_flaw_of_what_is_installed_is_named(operator: Operator, known: Known) -> None:
    """Attack 40: use a flaw of a library that everybody but the operator knows. Source: CWE-1395."""
    fixed = flaw(id="PYSEC-1", aliases=[])
    fixed["affected"][0] |= affected({"introduced": "0"}, {"fixed": "9999.1"}, {"fixed": "9999.2"})
    said = operator.prints("known-flaws", str(known(flaw(), fixed, flaw("elsewhere"))))
    assert f"vulnerable: uvicorn {HERE}: GHSA-1111-2222-3333, CVE-2027-0001: Reads too much. No v" in said
    assert f"vulnerable: uvicorn {HERE}: PYSEC-1: Reads too much. Update it: fixed in 9999.1.\n" in said
    assert said.endswith(" libraries, 2 unsafe\n")
    assert operator.fails("known-flaws", str(known(flaw()))) == "1"


def test_spelling_hides_nothing(operator: Operator, known: Known) -> None:
    assert "1 unsafe" in operator.prints("known-flaws", str(known(flaw("UviCorn"))))
    assert "typing-extensions" in installed()
    assert not installed().keys() & {"my-server"}


@pytest.mark.parametrize(
    "record",
    [
        flaw("elsewhere"),
        flaw(withdrawn=YESTERDAY),
        flaw(affected=[{"package": {"ecosystem": "npm", "name": "uvicorn"}}, *flaw("other")["affected"]]),
    ],
)
def test_what_concerns_nobody_here_is_not_named(
    operator: Operator, known: Known, record: dict[str, Any], tmp_path: Path
) -> None:
    assert operator.types("known-flaws", str(known(record))).endswith(" libraries, nothing unsafe\n")
    (tmp_path / "one.json").write_text(json.dumps(record))
    (tmp_path / "all.zip").unlink()
    assert "nothing unsafe" in operator.types("known-flaws", str(tmp_path))


@pytest.mark.parametrize("name", ["GHSA-1111-2222-3333", "CVE-2027-0001"])
def test_a_flaw_can_be_accepted(operator: Operator, known: Known, name: str) -> None:
    said = operator.types("known-flaws", str(known(flaw())), "--accept", name, "--accept", "CVE-2")
    assert f"note: uvicorn {HERE}: GHSA" in said
    assert "It was accepted" in said
    assert "note: CVE-2: it was accepted, and nothing here has it" in said
    rows = operator.types("known-flaws", str(known(flaw())), "--accept", name, "--json")
    assert json.loads(rows)["level"] == "note"


def test_an_old_list_is_no_reason_to_be_calm(
    operator: Operator, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 40: keep the list from being renewed. Source: TUF 1.5.2 (freeze)."""
    monkeypatch.setattr(clock, "now", lambda: NOW + limits.KNOWN_FLAWS_DAYS * 86_400)
    assert "its newest record is 31 days old" in operator.prints("known-flaws", str(known(flaw("other"))))


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        flaw(affected=[{"package": {"ecosystem": "npm", "name": "uvicorn"}}]),
        flaw(modified="yesterday"),
        flaw(affected=[{"package": {"ecosystem": "PyPI"}}]),
        flaw(affected=[flaw()["affected"][0] | {"versions": None, "ranges": [{}]}]),
        flaw(affected=3),
    ],
)
def test_what_is_no_list_is_one_line(operator: Operator, known: Known, record: object) -> None:
    line = operator.fails("known-flaws", str(known(record)))
    assert line.startswith("my-server: ")
    assert "\n" not in line


def test_what_is_no_file_is_one_line(operator: Operator, known: Known, tmp_path: Path) -> None:
    assert "No such file" in operator.fails("known-flaws", str(tmp_path / "missing"))
    assert "no record of PyPI" in operator.fails("known-flaws", str(tmp_path))
    (tmp_path / "one.json").write_text("{")
    for file in (tmp_path, tmp_path / "one.json"):
        assert "neither a zip nor a folder" in operator.fails("known-flaws", str(file))
