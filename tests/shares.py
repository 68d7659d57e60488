"""What strangers leave of the limits, told by a simulation.

Each attack is played against the real code and each storage, on a clock of its own (`simulated.py`).
Meanwhile others come whom it should not hurt. docs/security.md has a table for each storage, which
`PYTHONPATH=template/tests/authserver uv run python tests/shares.py` writes, and `test_shares.py` compares.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from statistics import mean
from typing import Any
from uuid import uuid4

import engines
from rendering import REPOSITORY, choices
from simulated import PASSWORD, World, posted, world
from starlette.responses import Response
from storage import add_user

from authserver import AuthorizationServer
from authserver.browser.sessions import start_session
from authserver.endpoints.errors import OAuthError
from authserver.endpoints.register import register
from authserver.with_password.form import Refused

DOCUMENT = REPOSITORY / "docs" / "security.md"

_BEGIN = "<!-- Made by tests/shares.py: do not edit below. -->\n"
_END = "<!-- Made by tests/shares.py: until here. -->\n"

_HEAD = """\
| Meanwhile | A new client is there a minute later | One from before is still there \
| Signs in, in a new browser | Signs in, in a known browser |
|---|---|---|---|---|"""

BOTS = 10_000
VISITS = 20
_METADATA = {"redirect_uris": ["http://127.0.0.1/"]}


def bot(number: int) -> str:
    """Return an address of the botnet: in as many networks as there are in a country."""
    return f"{20 + number % 80}.{number // 80 % 250}.{number % 7}.{number % 251}"


def line(number: int) -> str:
    """Return an address of a /48, in another /64 each time."""
    return f"2001:db8:1:{number % 65_536:x}::1"


def visitor(number: int) -> str:
    """Return the address of somebody else."""
    return f"203.{number}.113.7"


@dataclass
class Experience:
    """What became of the visits of some people, and how long those waited that were served, in seconds."""

    visits: int = 0
    waits: list[float] = field(default_factory=list)

    def note(self, wait: float | None) -> None:
        """Note a visit, None for one that was not served."""
        self.visits += 1
        if wait is not None:
            self.waits.append(wait)

    def __str__(self) -> str:
        served = f"{len(self.waits)} of {self.visits}"
        if not any(self.waits):
            return served
        return f"{served}, in {mean(self.waits):.1f} s, {max(self.waits):.1f} s at most"


# ----------------------------------------------------------------------------------------- registrations


async def _register(server: AuthorizationServer, address: str) -> str | None:
    """Return the id of a new client, None where it is refused."""
    try:
        answer = await register(server, posted(address, body=_METADATA))
    except OAuthError:
        return None
    return _client_id(answer)


def _client_id(answer: Response) -> str:
    return str(json.loads(bytes(answer.body))["client_id"])


@dataclass(frozen=True)
class Flood:
    """Registrations, so many at once, each so many seconds."""

    addresses: Callable[[int], str]
    number: int
    at_once: int
    seconds: float

    async def play(self, world: World) -> None:
        """Register until it is over."""
        for start in range(0, self.number, self.at_once):
            numbers = range(start, start + self.at_once)
            world.crowd(lambda server: [_register(server, self.addresses(number)) for number in numbers])  # noqa: B023
            await asyncio.sleep(self.seconds)


async def registrations(world: World, *floods: Flood) -> tuple[Experience, Experience]:
    """Return what those experience who register during the last flood, and who did before all of them.

    A visit is served if the client is still there a minute later, or at the end.
    """
    early = [await _register(world.server, visitor(number)) for number in range(VISITS)]
    for flood in floods[:-1]:
        await flood.play(world)
    attack = asyncio.create_task(floods[-1].play(world))
    newcomers, before = Experience(), Experience()

    async def visit(number: int) -> None:
        client_id = await _register(world.server, visitor(100 + number))
        await asyncio.sleep(60)
        newcomers.note(0 if client_id and await world.storage.clients.get(client_id) else None)

    visits = []
    for number in range(VISITS):
        await asyncio.sleep(3)
        visits.append(asyncio.create_task(visit(number)))
    await asyncio.gather(attack, *visits)
    for client_id in early:
        before.note(0 if client_id and await world.storage.clients.get(client_id) else None)
    return newcomers, before


# ---------------------------------------------------------------------------------------------- sign-ins


async def _sign_in(world: World, address: str, name: str, password: str, cookie: str = "") -> float | None:
    """Return how long it took, None where it was refused."""
    login: Any = world.server.login
    began = asyncio.get_running_loop().time()
    try:
        await login._form.attempt(posted(address, cookie), name, password)
    except Refused:
        return None
    return asyncio.get_running_loop().time() - began


async def known_browser(world: World, name: str) -> str:
    """Return the cookies of a browser in which somebody signed in before."""
    user = await world.storage.users.get(name)
    assert user is not None
    response = Response()
    await start_session(world.server, posted("192.0.2.1"), response, user)
    cookies = [value.partition(";")[0] for value in response.headers.getlist("set-cookie")]
    return "; ".join(cookie for cookie in cookies if not cookie.startswith("session"))


async def guesses(world: World, addresses: Callable[[int], str], per_second: int) -> None:
    """Guess, from another address and at another account each time, until cancelled."""
    dice = random.Random(per_second)
    async with asyncio.TaskGroup() as tasks:
        for number in count():
            tasks.create_task(_sign_in(world, addresses(number), f"account-{number}", "a guess"))
            await asyncio.sleep(dice.expovariate(per_second))


async def gone_mad(world: World, cookie: str) -> None:
    """Give the right password again and again, over 20 connections from one address, until cancelled."""

    async def one() -> None:
        while True:
            await _sign_in(world, "192.0.2.99", "mad", PASSWORD, cookie)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(one())


async def sign_ins(world: World, attack: Awaitable[None]) -> tuple[Experience, Experience]:
    """Return what those experience meanwhile who sign in with a new browser, and with a known one."""
    newcomers, known = Experience(), Experience()
    attacking = asyncio.ensure_future(attack)

    async def visit(experience: Experience, number: int, cookie: str = "") -> None:
        name = f"{'known' if cookie else 'new'}-{number}"
        experience.note(await _sign_in(world, visitor(number), name, PASSWORD, cookie))

    cookies = []
    for number in range(VISITS):
        await add_user(world.storage, f"new-{number}")
        await add_user(world.storage, f"known-{number}")
        cookies.append(await known_browser(world, f"known-{number}"))
    await asyncio.sleep(2)
    async with asyncio.TaskGroup() as tasks:
        for number, cookie in enumerate(cookies):
            await asyncio.sleep(0.37)
            tasks.create_task(visit(newcomers, number))
            tasks.create_task(visit(known, number, cookie))
    attacking.cancel()
    await asyncio.gather(attacking, return_exceptions=True)
    return newcomers, known


# ------------------------------------------------------------------------------------------------ tables


Attack = Callable[[World], Awaitable[None]]


async def mad(world: World, *, known: bool) -> None:
    """Let one user go mad, in a browser that is known or new."""
    await add_user(world.storage, "mad")
    await gone_mad(world, await known_browser(world, "mad") if known else "")


BOTNET = f"a botnet of {BOTS:,} addresses"

# What registers, and what signs in meanwhile.
ATTACKS: dict[str, tuple[tuple[Flood, ...], Attack]] = {
    "nothing": ((Flood(bot, 0, 1, 1),), lambda world: asyncio.sleep(0)),
    "a /48": (
        (Flood(line, 2400, 100, 20), Flood(line, 600, 10, 1)),
        lambda world: guesses(world, line, 60),
    ),
    BOTNET: ((Flood(bot, BOTS, 500, 1), Flood(bot, 300, 10, 2)), lambda world: guesses(world, bot, 100)),
    "one user gone mad": (
        (Flood(lambda _: "192.0.2.99", 120, 2, 1),),
        lambda world: mad(world, known=False),
    ),
    "the same, in a known browser": ((), lambda world: mad(world, known=True)),
}


def row(attack: str, storage: str, engine: engines.Engine) -> str:
    """Play an attack against a storage; return the row of its table."""
    floods, signs_in = ATTACKS[attack]
    seen: list[Experience | str] = ["", ""]
    if floods:
        with world(storage, engine, uuid4().hex) as made:
            seen = [*made.run(registrations(made, *floods))]
    with world(storage, engine, uuid4().hex) as made:
        seen += made.run(sign_ins(made, signs_in(made)))
    return f"| {attack} | {' | '.join(map(str, seen))} |"


def table(storage: str, attacks: Iterable[str] = ATTACKS) -> str:
    """Return the table of a storage, whose engine runs for it."""
    with engines.running(storage) as engine:
        rows = [row(attack, storage, engine) for attack in attacks]
    return "\n".join([f"\n#### {storage}\n", _HEAD, *rows]) + "\n"


def committed(storage: str, attacks: Iterable[str] = ATTACKS) -> str:
    """Return the table of a storage as docs/security.md has it."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]
    lines = text.partition(f"\n#### {storage}\n\n")[2].partition("\n\n")[0].splitlines()
    rows = [line for line in lines if line.split(" | ")[0][2:] in attacks]
    return "\n".join([f"\n#### {storage}\n", *lines[:2], *rows]) + "\n"


if __name__ == "__main__":
    text, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    made = "".join(table(storage) for storage in choices("storage"))
    DOCUMENT.write_text(f"{text}{_BEGIN}{made}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
