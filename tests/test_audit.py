"""docs/audit.md says what the code writes down for an audit, and no more."""

from events import DOCUMENT, described, document, written


def test_the_table_of_events_is_that_of_the_code() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: uv run python tests/events.py"


def test_every_event_is_written_with_the_facts_that_it_names() -> None:
    assert written() == {name: set(event.facts) for name, event in described().items()}


def test_every_fact_is_explained() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    facts = {fact for event in described().values() for fact in event.facts}
    assert {fact for fact in facts if f"\n| `{fact}` | " not in text} == set()
