"""The promises to old projects, kept since each release; and that a broken one is noticed."""

from copy import deepcopy

import pytest
from history import needs_history
from promises import Settings, broken, broken_since, missing_paths
from rendering import REPOSITORY, git, releases, settings, sources

NOW = settings()
RELEASES = releases()


@needs_history
def test_there_is_a_release() -> None:
    assert RELEASES


@pytest.mark.parametrize("release", [None, *RELEASES.values()], ids=["now", *RELEASES])
def test_each_release_can_be_updated_to_and_from(release: str | None) -> None:
    assert not list(broken(settings(release)))


@needs_history
@pytest.mark.parametrize("release", RELEASES.values(), ids=list(RELEASES))
def test_answers_stay_valid_and_mean_the_same(release: str) -> None:
    assert not list(broken_since(settings(release), NOW))


@needs_history
@pytest.mark.parametrize("release", RELEASES, ids=list(RELEASES))
def test_each_file_that_is_gone_is_named(release: str) -> None:
    """Of all answers at once: the updates look at those of some."""
    before = git(REPOSITORY, "ls-tree", "-r", "--name-only", f"{RELEASES[release]}:template").splitlines()
    now = [str(path.relative_to(REPOSITORY / "template")) for path in sources(REPOSITORY / "template")]
    upgrading = (REPOSITORY / "UPGRADING.md").read_text(encoding="utf-8")
    # What only makes other files is none of a project's.
    old, new = (
        {name.removesuffix(".jinja") for name in names if not name.endswith("README.md.jinja")}
        for names in (before, now)
    )
    assert not list(missing_paths(old, new, release, upgrading))


# ------------------------------------------------------------------------------------------------ noticed


def changed(**changes: object) -> Settings:
    return {**deepcopy(NOW), **changes}


def question(name: str, **changes: object) -> Settings:
    return changed(**{name: {**NOW[name], **changes}})


@pytest.mark.parametrize(
    ("new", "noticed"),
    [
        (changed(_tasks=["make"]), "_tasks"),
        (changed(_migrations=[{"version": "1.0.0", "before": ["true"]}]), "_migrations"),
        (changed(_jinja_extensions=["jinja2_time.TimeExtension"]), "_jinja_extensions"),
        (changed(_secret_questions=["storage"]), "_secret_questions"),
        (question("storage", secret=True), "storage: a secret"),
        (question("storage", default="{{ _copier_operation }}"), "storage: _copier_operation"),
        (changed(_exclude=["{% if storage == 'sqlite' %}/docs{% endif %}"]), "_exclude: storage"),
        (changed(_exclude=["{{ storage | default('redis') }}"]), "_exclude: storage"),
        (changed(_exclude=["{{ colour | default('red') }}"]), "_exclude: colour"),
        (changed(_exclude=["/src/{{ storage | default('sqlite') }}/"]), "_exclude: /src/sqlite/"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_release_that_cannot_be_updated_to_is_noticed(new: Settings, noticed: str) -> None:
    assert [line for line in broken(new) if line.startswith(noticed)]


@pytest.mark.parametrize(
    ("new", "noticed"),
    [
        (question("storage", choices={"SQLite": "sqlite", "Postgres": "postgres"}), "storage: postgresql"),
        (question("login", default="passkey"), "login: the default was password"),
        ({name: value for name, value in NOW.items() if name != "tokens"}, "tokens: the question is gone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_lost_is_noticed(new: Settings, noticed: str) -> None:
    assert [line for line in broken_since(NOW, new) if line.startswith(noticed)]


@pytest.mark.parametrize(("version", "excused"), [("0.1.0", True), ("1.0.0", False)])
def test_a_path_that_is_lost_is_noticed(version: str, excused: bool) -> None:
    [line] = missing_paths({"src/a.py", "src/b.py"}, {"src/b.py"}, version, "")
    assert line.startswith("src/a.py: ")
    assert bool(list(missing_paths({"src/a.py"}, set(), version, "Gone: `src/a.py`"))) is not excused
