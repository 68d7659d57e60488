"""Users, found by their folded names too, and their invitations."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict

from authserver.model.records import Invitation, User
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import Argument, decode, each, found
from authserver.storage.rows import folded, record, text
from authserver.storage.users import OPERATOR, Ending, Users


class RedisUsers(Kept, Users):
    """The users of a store."""

    async def get(self, name: str) -> User | None:
        return found(User, await self._server.run("get_user", folded(name)))

    async def get_by_subject(self, subject: str) -> User | None:
        return found(User, await self._server.run("get", "users", subject))

    async def all(self) -> list[User]:
        return each(User, await self._server.run("list", "users"))

    async def add(self, name: str, *, scopes: Sequence[str] | None) -> User:
        return record(User, decode(await self._server.run("add_user", _account(name, scopes), again=True)))

    async def rename(self, name: str, new_name: str) -> bool:
        row = {"name": new_name, "folded_name": folded(new_name)}
        return bool(await self._server.run("rename_user", folded(name), row))

    async def set_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        return bool(await self._server.run("set_user_scopes", folded(name), {"scopes": text(scopes)}))

    async def disable(self, name: str, *, by: str = OPERATOR) -> bool:
        return bool(await self._server.run("disable_user", folded(name), _who(by), again=True))

    async def enable(self, name: str, *, by: str = OPERATOR) -> bool:
        return bool(await self._server.run("enable_user", folded(name), _who(by)))

    async def delete(self, name: str) -> bool:
        if (user := await self.get(name)) and await self.disable(name):
            await self._server.sweep(subject=user.subject)
        return bool(await self._server.run("delete_user", folded(name)))

    async def end_access(self, subject: str, ending: Ending) -> int | None:
        known = {
            "epoch": ending.epoch,
            "session": ending.session,
            "keep": ending.keep,
            "beside": ending.beside,
            "grants": ending.grants,
        }
        credential = {"subject": subject, **asdict(ending.put)} if ending.put else {}
        moved = await self._server.run("end_access", subject, known, credential, ending.delete)
        return None if moved is None else int(moved)

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        row = _account(name, scopes) | {"digest": digest}
        return bool(await self._server.run("add_invitation", row, lifetime_seconds))

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        return found(Invitation, await self._server.run("get_invitation", digest))

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None, grants: bool = False
    ) -> User | None:
        first = {"folded_name": folded(name), "name": name}
        kind, value = credential or (None, None)
        changed = {"kind": kind, "value": value}
        made = await self._server.run("claim_invitation", digest, first, changed, grants)
        return found(User, made)


def _account(name: str | None, scopes: Sequence[str] | None) -> dict[str, Argument]:
    return {
        "subject": str(uuid.uuid4()),
        "folded_name": None if name is None else folded(name),
        "name": name,
        "scopes": text(scopes),
    }


def _who(by: str) -> dict[str, Argument]:
    return {"by": by, "over_others": by == OPERATOR}
