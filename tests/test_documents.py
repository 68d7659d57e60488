"""What the documents say of one another."""

import re

from rendering import REPOSITORY

DECISIONS = REPOSITORY / "docs" / "decisions"
ROW = re.compile(r"\| \[(\d{4})\]\((\1-[a-z0-9-]+\.md)\) \| (.+) \| \d{4}-\d\d-\d\d \| (.+) \|")


def test_every_decision_is_in_the_index() -> None:
    """With its number, its title, the day it was made and whether it holds."""
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    listed = {found[2]: found[3] for found in map(ROW.fullmatch, index.splitlines()) if found}
    titles = {
        path.name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for path in DECISIONS.glob("0*.md")
    }
    assert titles
    assert {name: listed.get(name) for name in titles} == titles
    assert list(listed) == sorted(listed)


def test_links_from_one_document_to_another_lead_somewhere() -> None:
    documents = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *DECISIONS.glob("0*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
