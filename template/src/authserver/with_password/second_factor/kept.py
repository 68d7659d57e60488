"""Where second factors are kept: sealed, each for its user only."""

from authserver.crypto.sealing import SECOND_FACTOR, Seal
from authserver.storage import Storage
from authserver.storage.users import NewCredential
from authserver.with_password.second_factor.factor import Factor


class Kept:
    """The second factors in a storage. Each read gives a counter too, by which the next write is compared."""

    def __init__(self, storage: Storage, seal: Seal) -> None:
        self._storage = storage
        self._seal = seal

    async def get(self, subject: str) -> tuple[Factor | None, int]:
        """Return the user's factor and its counter (0: there is none); raises CannotUnseal."""
        stored = await self._storage.sign_ins.get_credential(subject, SECOND_FACTOR)
        if stored is None:
            return None, 0
        return Factor.from_bytes(self._seal.unseal(stored.value, _purpose(subject))), stored.counter

    async def put(self, subject: str, factor: Factor, counter: int) -> bool:
        """Store the factor after a use of it, unless somebody changed it since it was read."""
        sealed = self.sealed(subject, factor, counter)
        return await self._storage.sign_ins.put_credential(
            subject, sealed.kind, sealed.value, counter=counter
        )

    def sealed(self, subject: str, factor: Factor, counter: int) -> NewCredential:
        """Return a new factor, or a changed one, as `Users.end_access` stores it."""
        return NewCredential(SECOND_FACTOR, self._seal.seal(factor.to_bytes(), _purpose(subject)), counter)

    async def rewrap(self) -> int:
        """Seal again what the previous secret key sealed; return how many factors."""
        count = 0
        for user in await self._storage.users.all():
            # Again where a code was used in between.
            while await self._is_outdated(user.subject):
                factor, counter = await self.get(user.subject)
                count += factor is not None and await self.put(user.subject, factor, counter)
        return count

    async def _is_outdated(self, subject: str) -> bool:
        stored = await self._storage.sign_ins.get_credential(subject, SECOND_FACTOR)
        return stored is not None and not self._seal.is_current(stored.value)


def _purpose(subject: str) -> str:
    return f"second factor of {subject}"
