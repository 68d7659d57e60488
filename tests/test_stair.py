"""docs/architecture.md says how the rooms of `authserver` lie; and so they do."""

import stair

STEP = {room: number for number, (rooms, _) in enumerate(stair.STEPS) for room in rooms}


def test_each_room_is_on_a_step() -> None:
    rooms = {stair.room(module) for module in stair.modules()}
    assert rooms - set(STEP) == set(), "add it to STEPS in tests/stair.py"


def test_a_room_imports_lower_ones_only() -> None:
    up = {
        f"{module} imports {imported}"
        for module, imported in stair.imports()
        if stair.room(module) != stair.room(imported)
        and STEP[stair.room(module)] <= STEP[stair.room(imported)]
    }
    assert up == set()


def test_only_choices_imports_a_choice() -> None:
    elsewhere = {
        f"{module} imports {imported}"
        for module, imported in stair.imports()
        if stair.choice(imported) not in {None, stair.choice(module)} and module != "authserver.choices"
    }
    assert elsewhere == set()


def test_the_picture_and_the_table_are_those_of_the_list() -> None:
    assert stair.PICTURE.read_text(encoding="utf-8") == stair.picture(), "run: uv run python tests/stair.py"
    assert stair.DOCUMENT.read_text(encoding="utf-8") == stair.document(), "run: uv run python tests/stair.py"
