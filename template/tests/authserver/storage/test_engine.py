"""What an engine is: whole, awake, with a clock."""

import time
from typing import Any

import pytest

from authserver.storage import Storage
from storage import SUBJECTS

pytestmark = pytest.mark.anyio


def kept(protocol: type, *, without: str = "") -> Any:
    """A class that has each operation of a protocol, but one."""
    names = {name for name in vars(protocol) if not name.startswith("_")} - {without}
    return type("Kept", (protocol,), dict.fromkeys(names))


@pytest.mark.parametrize("protocol", [*SUBJECTS.values(), Storage])
def test_a_class_that_lacks_an_operation_cannot_be_made(protocol: type) -> None:
    complete = dict.fromkeys(SUBJECTS) if protocol is Storage else {}
    kept(protocol)(**complete)
    for name in vars(protocol):
        if not name.startswith("_"):
            with pytest.raises(TypeError, match=rf"abstract.* '?{name}\b"):
                kept(protocol, without=name)(**complete)


@pytest.mark.parametrize("lacking", SUBJECTS)
def test_a_storage_that_lacks_a_subject_cannot_be_made(lacking: str) -> None:
    with pytest.raises(TypeError, match=f"missing .* '{lacking}'"):
        kept(Storage)(**{subject: None for subject in SUBJECTS if subject != lacking})


async def test_each_subject_of_the_engine_is_of_its_class(storage: Storage) -> None:
    for name, subject in SUBJECTS.items():
        assert isinstance(getattr(storage, name), subject)


async def test_the_engine_answers_when_asked_whether_it_can_write(storage: Storage) -> None:
    await storage.ping()


async def test_the_engine_tells_its_time(storage: Storage) -> None:
    assert abs(await storage.now() - time.time()) < 600
