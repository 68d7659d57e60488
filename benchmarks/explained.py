"""Why a promise is not reached, in words, with the figures of the same run; and how cost grows, on paper."""

from collections.abc import Callable, Iterator
from typing import Any

from goals import NONE, Goal, Parts
from growth import FEW

_PEOPLE = (10_000, 1_000_000, 10_000_000, 100_000_000)
_IN_USE = 20
_REFRESHES_AN_HOUR = 1
_CALLS_AN_HOUR = 60
_PROCESSORS = 32
# Of what a processor or a writer can do, what is planned for: the rest is for the busiest minute.
_PLANNED = 0.5


def reasons(found: list[Goal], parts: Parts) -> Iterator[str]:
    """Yield a paragraph for each topic with a promise that was not reached."""
    profile = parts.get("profile", {})
    for topic in dict.fromkeys(goal.topic for goal in found if not goal.reached):
        told = _REASONS[topic](parts)
        shares = f" Samples of it on SQLite: {_shares(profile[topic])}." if topic in profile else ""
        yield f"* **{topic}.** {told}{shares}"


def _shares(shares: dict[str, float]) -> str:
    large = [f"{layer} {share:.0%}" for layer, share in shares.items() if share >= 0.01]
    return ", ".join(large)


def _rate(parts: Parts, part: str, work: str, begins: str) -> float:
    sides = parts.get(part, {}).get(work, [])
    return next((side["answers_per_second"] for side in sides if side["name"].startswith(begins)), 0.0)


def _calls(work: str) -> Callable[[Parts], str]:
    def reason(parts: Parts) -> str:
        memory = _rate(parts, "calls", work, "FastMCP, in memory") / _rate(parts, "calls", work, NONE)
        jwt = _rate(parts, "calls", work, "sqlite, jwt") / _rate(parts, "calls", work, "FastMCP, in memory")
        return (
            "Most of a call is FastMCP's and the SDK's: a session, JSON-RPC and its streams for each request."
            " FastMCP's own provider, which keeps one token in a dict and has no guard, is at"
            f" {memory:.2f} of none: so much costs what FastMCP and the SDK do for whoever is known."
            f" Beside that provider a `jwt` here is at {jwt:.2f}. What is this project's own: the guard with its"
            " questions and headers, the look-up, the line in the log. PostgreSQL and Redis are asked once a"
            " call, over a socket: nothing is kept of their answer, so that what is revoked is refused at once."
        )

    return reason


def _refresh(_: Parts) -> str:
    return (
        "Peers in memory change an object of their own process. Here two reads find client and token, then one"
        " step of ten statements is committed by the one thread that writes, and the answer waits for the"
        " disk. CPython hands its lock from thread to thread at each statement; the disk is shared by all"
        " that came in the same moment. PostgreSQL and Redis take a round trip more for each read, and their"
        " own processor, which here is that of the load."
    )


def _introspection(_: Parts) -> str:
    return (
        "`oidc-provider` finds token and client in a map of its process. SQLite tells by one number whether"
        " anybody has written since they were looked up; PostgreSQL and Redis are asked for both at each"
        " request: what is revoked or removed is refused at once, by all processes. The rest is the guard, the"
        " parsing of form and header, the log."
    )


def _registration(_: Parts) -> str:
    return (
        "Each registration is two durable writes, one after the other: what its network has asked for lately,"
        " then the client, with its networks' shares of the room for clients. In memory nothing is waited for."
        " The log line of the audit is written before the answer."
    )


def _growth(parts: Parts) -> str:
    told = ", ".join(
        f"{storage} {found['check_few']:.0f} to {found['check_many']:.0f} µs a check,"
        f" {found['rotate_few']:.0f} to {found['rotate_many']:.0f} µs a refresh"
        for storage, found in parts["growth"].items()
    )
    return (
        f"In figures, of the storage alone: {told}.{_in_a_request(parts)}"
        " Trees are one or two levels higher, and their pages do not lie in the caches of"
        " processor and engine any more; on PostgreSQL the tests' 32 MiB of shared buffers hold the thousand"
        " tokens whole, and of the many the upper levels: what is missing comes from the system's cache."
    )


def _in_a_request(parts: Parts) -> str:
    """Say what the difference is for whoever sends a request."""
    asked = parts.get("introspection", {}).get("introspection", [])
    whole = {side["name"].removesuffix(", opaque"): side["processor_microseconds"] for side in asked}
    told = [
        f"{1 + (found['check_many'] - found['check_few']) / whole[storage]:.2f} on {storage}"
        for storage, found in parts["growth"].items()
        if storage in whole
    ]
    return f" In a whole introspection that is a ratio of {', '.join(told)}." if told else ""


def _plain(text: str) -> Callable[[Parts], str]:
    return lambda _: text


_REASONS: dict[str, Callable[[Parts], str]] = {
    "tools/call, JSON": _calls("tools/call, JSON"),
    "tools/call, event stream": _calls("tools/call, event stream"),
    "refresh": _refresh,
    "introspection": _introspection,
    "registration": _registration,
    "metadata": _plain("Prepared bytes: what is left is the server, the guard and the log."),
    "JWKS": _plain("Prepared bytes: what is left is the server, the guard and the log."),
    "storm": _plain(
        "Two passwords are hashed at a time, each by four threads, which step back for the event loop"
        " ([0109](decisions/0109-slow-work-steps-back.md)). On the one processor of the server they still have"
        " what it leaves, and the engine's own work waits beside them; where there are more processors, neither"
        " waits."
    ),
    "purge": _plain(
        "What expired is deleted a hundred of a sort at a time, each in one step of the engine, with pauses"
        " ([0109](decisions/0109-slow-work-steps-back.md)). On SQLite it runs in the writing thread, and a check"
        " beside it waits for CPython's lock and the one processor at most; Redis runs one script at a time,"
        " and answers nobody while it waits for the disk."
    ),
    "growth": _growth,
    "workers": _plain("Load and servers share two processors; what the load takes, no worker can have."),
    "writers": _plain(
        "The file has one writer at a time, whoever that is: processes take turns at its lock, and each turn"
        " commits what waits in that process alone. On two processors, more than two processes also wait for"
        " a processor."
    ),
    "footprint": _plain("Importing takes the time: what a command does not use is not imported."),
}


def growing(parts: Parts) -> Iterator[str]:
    """Yield the lines of how cost grows: what was measured, and from there on paper."""
    growth = parts.get("growth", {})
    if not growth:
        return
    yield f"| Storage | Living tokens | A check at {FEW:,}, at all | A refresh at {FEW:,}, at all | A grant |"
    yield "|---|--:|--:|--:|--:|"
    for storage, told in growth.items():
        costs = [f"{told[f'{work}_few']:.0f}, {told[f'{work}_many']:.0f} µs" for work in ("check", "rotate")]
        size = f"{told['bytes_a_grant'] / 1000:.1f} KB"
        yield f"| {storage} | {told['tokens']:,} | {costs[0]} | {costs[1]} | {size} |"
    yield ""
    yield from _on_paper(growth, parts)


def _on_paper(growth: dict[str, Any], parts: Parts) -> Iterator[str]:
    calls = _rate(parts, "calls", "tools/call, JSON", "sqlite, opaque")
    if not calls:
        return
    planned = calls * _PLANNED
    yield (
        f"On paper, from these figures: each person has one app, and one in {_IN_USE} uses it at this moment,"
        f" with a call a minute and a refresh an hour. A process answers {calls:,.0f} calls a second here, and is"
        f" planned for {planned:,.0f}; the store holds one grant for each person.\n"
    )
    sizes = " | ".join(f"{storage} holds" for storage in growth)
    yield f"| People | Calls a second | Processes | Refreshes a second | {sizes} |"
    yield f"|--:|--:|--:|--:|{'--:|' * len(growth)}"
    for people in _PEOPLE:
        called = people / _IN_USE * _CALLS_AN_HOUR / 3600
        refreshed = people / _IN_USE * _REFRESHES_AN_HOUR / 3600
        held = " | ".join(_bytes(people * told["bytes_a_grant"]) for told in growth.values())
        processes = -(-called // planned)
        yield f"| {people:,} | {called:,.0f} | {processes:,.0f} | {refreshed:,.1f} | {held} |"
    yield ""
    yield from _where_sqlite_ends(growth, planned)


def _where_sqlite_ends(growth: dict[str, Any], planned: float) -> Iterator[str]:
    by_calls = _PROCESSORS * planned * 3600 / _CALLS_AN_HOUR * _IN_USE
    yield (
        f"* **SQLite ends with its machine.** {_PROCESSORS} processors, a process on each, answer the calls of"
        f" {_rounded(by_calls)} people."
    )
    if "sqlite" in growth:
        writes = 1e6 / growth["sqlite"]["rotate_many"] * _PLANNED
        people = writes * 3600 / _REFRESHES_AN_HOUR * _IN_USE
        yield (
            f"  Its one writer does {writes / _PLANNED:,.0f} refreshes a second at {growth['sqlite']['tokens']:,}"
            f" tokens, and planned with half of that it serves {_rounded(people)} people: processors end first."
            if people > by_calls
            else f"  Its one writer ends earlier, at {_rounded(people)} people."
        )
    yield (
        "  Long before that there is another reason to leave it: one machine will be replaced while people"
        " work."
    )
    if "postgresql" in growth:
        large = _bytes(_PEOPLE[-1] * growth["postgresql"]["bytes_a_grant"])
        yield (
            f"* **PostgreSQL** holds {_PEOPLE[-1]:,} people in {large} on a disk; it is quick as long as the"
            " indexes that are in use fit into memory: a twentieth of them, and the upper levels of all. It"
            " answers one question for each call with an opaque token, and none for a `jwt`: with these, calls"
            " need processes, and the database is asked for refreshes alone."
        )
    if "redis" in growth:
        large = _bytes(_PEOPLE[-1] * growth["redis"]["bytes_a_grant"])
        yield (
            f"* **Redis** keeps all in memory: {large} for {_PEOPLE[-1]:,} people, and as much again while it"
            " rewrites its log. It runs one script at a time, so a second processor does not make it quicker."
            " It ends where a machine's memory does, and PostgreSQL goes on from there."
        )
    yield (
        "* **Add a process** when one processor is busy all the time: calls need them, refreshes do not."
        " **Add a node**, and leave SQLite first, when a machine has no processors left, or when the service has"
        " to outlive a machine."
    )


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} KB"


def _rounded(people: float) -> str:
    return f"{people / 1e6:,.1f} million" if people >= 1e6 else f"{people:,.0f}"
