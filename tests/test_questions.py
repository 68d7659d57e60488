"""Hostile and unlucky answers: refused with a clear line, or harmless."""

from pathlib import Path

import pytest
from rendering import asked, questions, render


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "My-Server",
        "my_server",
        "my--server",
        "-server",
        "server-",
        "1server",
        "a" * 51,
        "my server",
        "my-server\n",
        "my\nserver",
        'my"server',
        "my'server",
        "my-server]",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "${HOME}",
        "$(id)",
        "../outside",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..",
        "sérver",
        "сервер",
        "🚀",
        "my-server\u202e",
        "con",
        "fastmcp",
        "python",
    ],
)
def test_a_name_that_cannot_be_used_is_refused(plain_template: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="project_name"):
        render(plain_template, tmp_path / "project", project_name=name)
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("name", ["a", "x1", "class", "none", "true", "notes-server", "a" * 50, "my-fastmcp"])
def test_odd_names_are_harmless(plain_template: Path, tmp_path: Path, name: str) -> None:
    project = render(plain_template, tmp_path / "project", project_name=name)
    assert f'{name} = "authserver.cli:main"' in (project / "pyproject.toml").read_text()
    assert f"uv run {name}" in (project / "README.md").read_text()


@pytest.mark.parametrize(
    "app",
    [
        "",
        "server",
        "server:",
        ":mcp",
        "server.py",
        "server:mcp()()",
        "server:create(1)",
        "src/server.py:mcp",
        "../server.py:mcp",
        "server:mcp\n",
        "server:mcp; import os",
        "{{ 7 }}:mcp",
        "sérver:mcp",
        "app.main:mcp",
        "app.py:mcp",
        "authserver:mcp",
    ],
)
def test_a_server_that_cannot_be_imported_is_refused(plain_template: Path, tmp_path: Path, app: str) -> None:
    with pytest.raises(ValueError, match="'app'"):
        render(plain_template, tmp_path / "auth-server", app=app)
    assert not (tmp_path / "auth-server").exists()


@pytest.mark.parametrize("question", asked())
@pytest.mark.parametrize("answer", ["", "other", "../sqlite", "SQLITE", "{{ 1 }}", "sqlite\n"])
def test_only_offered_choices_are_taken(
    plain_template: Path, tmp_path: Path, question: str, answer: str
) -> None:
    with pytest.raises(ValueError, match=question):
        render(plain_template, tmp_path / "project", **{question: answer})


@pytest.mark.parametrize("answer", ["", "other", "../systemd", "SYSTEMD", "{{ 1 }}", "systemd\n"])
def test_only_offered_choices_are_taken_among_several(
    plain_template: Path, tmp_path: Path, answer: str
) -> None:
    with pytest.raises(ValueError, match="deploy"):
        render(plain_template, tmp_path / "project", deploy=["container", answer])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-server", "my-server"),
        ("My Server", "my-server"),
        ("notes_server.v2", "notes-server-v2"),
        ("42", "my-server"),
        ("2nd--try-", "nd-try"),
        ("🚀", "my-server"),
    ],
)
def test_the_name_comes_from_the_folder(plain_template: Path, tmp_path: Path, folder: str, name: str) -> None:
    project = render(plain_template, tmp_path / folder)
    assert f'name = "{name}"' in (project / "pyproject.toml").read_text()


def test_the_stored_generation_can_only_be_a_number(plain_template: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="invalid literal for int"):
        render(plain_template, tmp_path / "project", generation="7\nstorage: other")


def test_each_question_is_one_clear_sentence() -> None:
    for name, question in questions().items():
        if question.get("when") is not False:
            assert question["help"], name
            assert question["type"] in ("str", "int"), name


def test_no_question_is_a_secret() -> None:
    assert not any(question.get("secret") for question in questions().values())
