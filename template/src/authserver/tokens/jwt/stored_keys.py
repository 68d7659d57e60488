"""Signing keys that the server makes and keeps, sealed, in the storage; every node follows the same schedule.

A key is one immutable record, published as soon as it is stored. It signs from the time in the record until
the next one does; it stays published until the last token that it signed has run out, then any node deletes
it. So the records and the clock say all, and nodes need not talk.
"""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from authserver import clock, limits
from authserver.audit import Event, audit
from authserver.crypto.sealing import SIGNING_KEY, CannotUnseal, Seal
from authserver.settings import SettingsError
from authserver.storage.errors import StorageUnavailable
from authserver.storage.facts import Facts
from authserver.tokens.jwt.signing import KeyPair, Signer, make, read

# The number of the key; after `keys rewrap` also the name of the secret key that seals it.
_NAME = re.compile(r"signing key ([0-9]{1,9})(?: [0-9a-f]+)?")

_log = structlog.get_logger("authserver")


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    made_at: float
    signs_at: float
    pair: KeyPair


class StoredKeys:
    """The KeyRing protocol over the storage. Times are seconds since the epoch on this node's clock."""

    def __init__(self, *, algorithm: str, lead_seconds: float, token_seconds: float) -> None:
        """Take the algorithm and the lead of new keys, and how long tokens live."""
        self._algorithm = algorithm
        self._lead = lead_seconds
        self._token_seconds = token_seconds
        self._records: list[_Record] = []  # in the order in which they sign
        self._unreadable: set[str] = set()

    def open(self, facts: Facts, seal: Seal) -> None:
        """Take the open store of facts, and what seals keys. What is known of another store is forgotten."""
        self._facts = facts
        self._seal = seal
        self._records = []

    async def catch_up(self) -> None:
        """Read the records that are new; make the first key; delete keys whose tokens have run out."""
        names = await self._read()
        if not names:
            await self._make(1, signs_at=clock.now())
            names = await self._read()
        for record in self._retired(clock.now()):
            await self._forget(names, record)

    @property
    def published(self) -> Sequence[KeyPair]:
        """All keys, in the order in which they sign."""
        return [record.pair for record in self._records]

    def find(self, kid: str) -> KeyPair | None:
        """Return the key with that id."""
        return next((record.pair for record in self._records if record.pair.kid == kid), None)

    @property
    def signer(self) -> Signer:
        """The last key whose time has come; if this node's clock is late, the first."""
        if not self._records:
            raise StorageUnavailable("no signing key can be read")
        now = clock.now()
        come = [record.pair for record in self._records if record.signs_at <= now]
        return come[-1] if come else self._records[0].pair

    async def rows(self) -> list[dict[str, Any]]:
        """Return the keys with their times."""
        await self._read()
        signing = self.signer.kid if self._records else None
        return [
            {
                "kid": record.pair.kid,
                "algorithm": record.pair.algorithm,
                "signs": record.pair.kid == signing,
                "made_at": record.made_at,
                "signs_at": record.signs_at,
            }
            for record in self._records
        ]

    async def rotate(self, *, at_once: bool) -> str:
        """Store the next key. Of calls that see the same last one, one makes it, and all return it."""
        names = await self._read()
        now = clock.now()
        number = max(names.values(), default=0) + 1
        await self._make(number, signs_at=now if at_once or not names else now + self._lead)
        names = await self._read()
        if at_once:
            for record in [record for record in self._records if record.number < number]:
                await self._forget(names, record)
        [made] = [record for record in self._records if record.number == number]
        audit(Event.SIGNING_KEY_MADE, kid=made.pair.kid)
        return made.pair.kid

    async def rewrap(self) -> int:
        """Seal again under another name, then delete the old one: at no moment is a key missing."""
        count = 0
        facts = await self._facts.all(SIGNING_KEY)
        for name, sealed in facts.items():
            found = _NAME.fullmatch(name)
            if found and not self._seal.is_current(sealed):
                purpose = f"{SIGNING_KEY}{found[1]}"
                try:
                    value = self._seal.unseal(sealed, purpose)
                except CannotUnseal:
                    raise SettingsError(
                        "AUTH_SECRET_KEY_PREVIOUS: it must be the key that sealed the signing keys."
                        " Example: AUTH_SECRET_KEY_PREVIOUS_FILE=/run/secrets/previous_key"
                    ) from None
                await self._facts.remember(f"{purpose} {self._seal.name}", self._seal.seal(value, purpose))
                await self._facts.forget(name)
                count += 1
        return count

    # ---------------------------------------------------------------------------------------- records

    def _retired(self, now: float) -> list[_Record]:
        """Return the keys that were followed by another one so long ago that none of their tokens lives."""
        lifetime = self._token_seconds + limits.CLOCK_SKEW_SECONDS
        pairs = itertools.pairwise(self._records)
        return [record for record, following in pairs if following.signs_at + lifetime < now]

    async def _read(self) -> dict[str, int]:
        """Read the records that are new, drop those that are gone; return the names of all, with numbers."""
        facts = await self._facts.all(SIGNING_KEY)
        names = {name: int(found[1]) for name in facts if (found := _NAME.fullmatch(name))}
        records = {record.number: record for record in self._records if record.number in names.values()}
        for name, number in names.items():
            if number not in records:
                try:
                    records[number] = self._unsealed(number, facts[name])
                except CannotUnseal:
                    if name not in self._unreadable:
                        _log.error("a signing key cannot be unsealed: is AUTH_SECRET_KEY_PREVIOUS missing?")
                    self._unreadable.add(name)
        self._records = sorted(records.values(), key=lambda record: (record.signs_at, record.number))
        return names

    async def _make(self, number: int, *, signs_at: float) -> None:
        record = {"private": make(self._algorithm).decode(), "made_at": clock.now(), "signs_at": signs_at}
        purpose = f"{SIGNING_KEY}{number}"
        await self._facts.remember(purpose, self._seal.seal(json.dumps(record).encode(), purpose))

    def _unsealed(self, number: int, sealed: bytes) -> _Record:
        record = json.loads(self._seal.unseal(sealed, f"{SIGNING_KEY}{number}"))
        pair = read(record["private"].encode())
        return _Record(number, record["made_at"], record["signs_at"], pair)

    async def _forget(self, names: dict[str, int], record: _Record) -> None:
        mine = [name for name, number in names.items() if number == record.number]
        if any([await self._facts.forget(name) for name in mine]):
            audit(Event.SIGNING_KEY_DELETED, kid=record.pair.kid)
        self._records = [other for other in self._records if other is not record]
