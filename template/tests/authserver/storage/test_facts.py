"""Facts: what is remembered first stays."""

import pytest

from authserver.storage import Storage

pytestmark = pytest.mark.anyio


async def test_what_is_remembered_first_stays(storage: Storage) -> None:
    assert await storage.facts.recall("fact") is None
    assert await storage.facts.remember("fact", b"one") == b"one"
    assert await storage.facts.remember("fact", b"two") == b"one"
    assert await storage.facts.recall("fact") == b"one"
    await storage.facts.remember("fact_2", b"three")
    await storage.facts.remember("other", b"four")
    assert await storage.facts.all("fact") == {"fact": b"one", "fact_2": b"three"}
    assert await storage.facts.all("fact%") == {}
    assert await storage.facts.forget("fact")
    assert not await storage.facts.forget("fact")
    assert await storage.facts.remember("fact", b"five") == b"five"
