"""The catalogue of strings and what is made from it."""

import re
import tomllib
from pathlib import Path

import pytest
from conftest import Live

from authserver import pages
from authserver.pages import branding
from authserver.settings import SettingsError

SOURCE = Path(pages.__file__).parents[1]


def test_every_error_page_has_its_words() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    used = set(re.findall(r'(?:problem|message)\(\s*request, "([a-z_]+)"', code))
    strings = tomllib.loads((SOURCE / "pages/strings/en.toml").read_text(encoding="utf-8"))
    assert used
    assert used <= set(strings["message"])


def test_the_style_and_the_logo_are_served_and_revalidated(live: Live) -> None:
    for path, kind in ((pages.STYLE_PATH, "text/css"), (pages.LOGO_PATH, "image/svg+xml")):
        answer = live.http().get(path)
        if path == pages.LOGO_PATH and branding.load().logo is None:
            continue  # the user removed it
        assert answer.headers["content-type"].startswith(kind)
        tag = {"If-None-Match": answer.headers["etag"]}
        assert live.http().get(path, headers=tag).status_code == 304


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('accent = "red; } body { display: none"', "accent"),
        ("name = 7", "name"),
        ('colour = "#000000"', "colour"),
        ("not toml", "branding.toml"),
    ],
)
def test_a_mistake_in_the_branding_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    (tmp_path / "branding").mkdir()
    (tmp_path / "branding" / "branding.toml").write_text(text)
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    branding.load.cache_clear()
    with pytest.raises(SettingsError, match=why):
        branding.load()
    branding.load.cache_clear()


def test_text_on_any_accent_can_be_read() -> None:
    """WCAG 2.2 success criterion 1.4.3: at least 4.5:1."""
    assert branding.readable_on("#ffffff") == "#000000"
    assert branding.readable_on("#000000") == "#ffffff"
