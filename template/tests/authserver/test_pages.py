"""The languages, the branding, and what is made of them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Formatter

import pytest
from conftest import Live, new_person

from authserver import pages
from authserver.pages import branding, languages
from authserver.settings import SettingsError

SOURCE = Path(pages.__file__).parents[1]


# ----------------------------------------------------------------------------------------- languages

LANGUAGES = sorted(path.stem for path in (SOURCE / "pages/strings").glob("*.toml"))
ENGLISH = languages._read("en")


def parts(text: str) -> tuple[set[str], list[str]]:
    """Return what is filled in, and what is shown as code."""
    fields = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    return fields, sorted(re.findall("`(.+?)`", text))


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_says_the_same(name: str) -> None:
    texts = languages._read(name)
    assert not ENGLISH.keys() - texts.keys(), f"strings/{name}.toml lacks what strings/en.toml has"
    assert not texts.keys() - ENGLISH.keys(), f"strings/en.toml lacks what strings/{name}.toml has"
    for key, text in texts.items():
        assert parts(text) == parts(ENGLISH[key]), key
        assert text.strip() == text != "", key
    assert texts["direction"] in ("ltr", "rtl")


def test_every_text_that_is_used_is_there() -> None:
    used: dict[str, Path] = {}
    for path in SOURCE.rglob("*.py"):
        used |= dict.fromkeys(texts_of_python(path.read_text(encoding="utf-8")), path)
    assert sum(key.startswith("message.") for key in used) > 30
    for path in SOURCE.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        used |= dict.fromkeys(re.findall(r'\b(?:t|rich)\("([a-z_.]+)"(?:[,)]| ~)', html), path)
    missing = [
        f"{key}, for {path.relative_to(SOURCE)}"
        for key, path in used.items()
        if key not in ENGLISH and not (key.endswith(".") and any(text.startswith(key) for text in ENGLISH))
    ]
    assert not missing, f"strings/en.toml has no {missing}"


def texts_of_python(code: str) -> set[str]:
    """Return the keys of the texts that Python names: whole, by a problem, or by a refused password."""
    tables = {key.partition(".")[0] for key in ENGLISH if "." in key}
    strings = re.findall(r'"([a-z_]+\.[a-z_.]*[a-z_])"', code)
    found = {key for key in strings if key.partition(".")[0] in tables and not key.endswith(".js")}
    for key in re.findall(r'(?:(?:problem|message)\(\s*request, |Refusal\(\s*)"([a-z_]+)"', code):
        found |= {f"message.{key}.{part}" for part in ("title", "text", "next")}
    if "from authserver.with_password.form import" in code:
        found |= {f"sign_in.errors.{key}" for key in re.findall(r'Refused\(\s*"([a-z_]+)"', code)}
    return found


@pytest.mark.parametrize(
    ("accepted", "name"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-Latn-CH-1996", "de"),
        ("fr", "en"),
        ("fr, de;q=0.1", "de"),
        ("en, de", "en"),
        ("de, en", "de"),
        ("en;q=0.8, de;q=0.9", "de"),
        ("en;q=0.9,de;q=0.91", "de"),
        ("de;q=0, en", "en"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("fr, *;q=0.5, de;q=0.1", "en"),
        ("de;q=2", "en"),
        ("de;q=x, de", "de"),
        ("de ; q=0.5 , en ; q=0.4", "de"),
        ("../../secret, d e/, -, --, de-", "de"),
        (",".join(["x"] * 5000), "en"),
        ("x" * 5000, "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_prefers(accepted: str, name: str) -> None:
    """RFC 9110 section 12.5.4 and RFC 4647 section 3.4."""
    assert languages.preferred(accepted).name == name


def test_a_page_says_its_language_and_that_it_depends_on_the_browser(live: Live) -> None:
    for accepted, name, title in (("en", "en", "Your account"), ("de-AT", "de", "Ihr Konto")):
        person = new_person(live, "alice")
        person.browser.headers["Accept-Language"] = accepted
        page = person.get("/account")
        assert f'<html lang="{name}" dir="ltr">' in page.text
        assert f"<h1>{title}</h1>" in page.text
        assert "Accept-Language" in page.headers["vary"]


def test_a_detail_is_marked_as_english_and_programs_get_english(live: Live) -> None:
    http = live.http(headers={"Accept-Language": "de"})
    page = http.post("/consent?x", headers={"Accept": "text/html"})
    assert '<bdi lang="en">parameters belong in the body</bdi>' in page.text
    assert "Der Server" in page.text
    answer = http.post("/consent?x", headers={"Accept": "application/json"})
    assert answer.json()["error_description"].startswith("The server")


def test_what_a_language_does_not_have_yet_is_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A language of the user's own, after an update that brought new texts."""
    for file in (SOURCE / "pages/strings").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pt-BR.toml").write_text('[account]\ntitle = "Sua conta"\n')
    monkeypatch.setattr(languages, "_FOLDER", tmp_path)
    languages.names.cache_clear()
    language = languages.preferred("pt-BR")
    languages.names.cache_clear()
    assert (language.t("account.title"), language.t("account.sign_out")) == ("Sua conta", "Sign out")


# ------------------------------------------------------------------------------------------ branding


def branded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """Let the branding be that of these files."""
    (tmp_path / "branding").mkdir()
    for name, text in files.items():
        (tmp_path / "branding" / name.replace("_", ".")).write_text(text)
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    branding.load.cache_clear()


@pytest.fixture(autouse=True)
def _own_branding() -> Iterator[None]:
    yield
    branding.load.cache_clear()


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
        ("footer = 7", "footer"),
        ('[footer]\n"Imprint" = 7', "Imprint"),
        ('[footer]\n"Imprint" = "javascript:alert(1)"', "Imprint"),
        ('[footer]\n"Imprint" = "//evil.example"', "Imprint"),
    ],
)
def test_a_mistake_in_the_branding_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    branded(tmp_path, monkeypatch, branding_toml=text)
    with pytest.raises(SettingsError, match=why):
        branding.load()


def test_a_style_that_is_too_large_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branded(tmp_path, monkeypatch, style_css="a" * 65_537)
    with pytest.raises(SettingsError, match="larger than"):
        branding.load()


def test_all_of_the_branding_is_on_every_page(
    start: Callable[..., Live], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    assert "<footer>" not in server.http().get("/consent", headers={"Accept": "text/html"}).text
    assert server.http().get(pages.OWN_STYLE_PATH).status_code == 404
    text = 'name = "A & B"\nbanner = "<Be> careful"\n[footer]\n"Im<print" = "https://example.com/?a&b"\n'
    branded(tmp_path, monkeypatch, branding_toml=text, style_css="h1 { color: teal }")
    page = server.http().get("/consent", headers={"Accept": "text/html"})
    for part in (
        "<span>A &amp; B</span>",
        '<header class="banner">&lt;Be&gt; careful</header>',
        '<a href="https://example.com/?a&amp;b">Im&lt;print</a>',
    ):
        assert part in page.text
    assert page.text.index(pages.STYLE_PATH) < page.text.index(pages.OWN_STYLE_PATH)
    assert "style-src 'self'" in page.headers["content-security-policy"]
    style = server.http().get(pages.OWN_STYLE_PATH)
    assert (style.text, style.headers["content-type"]) == ("h1 { color: teal }", "text/css; charset=utf-8")


def test_text_on_any_accent_can_be_read() -> None:
    """WCAG 2.2 success criterion 1.4.3: at least 4.5:1."""
    assert branding.readable_on("#ffffff") == "#000000"
    assert branding.readable_on("#000000") == "#ffffff"
