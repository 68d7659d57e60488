"""docs/security.md says what the tests do, and no more."""

from attacks import DOCUMENT, document


def test_the_tables_of_attacks_are_those_of_the_tests() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: uv run python tests/attacks.py"
