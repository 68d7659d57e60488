"""What stands between: a load balancer before several nodes, an address that moves."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

Place = tuple[str, int]


@contextlib.contextmanager
def balancing(port: int, hosts: list[str]) -> Iterator[None]:
    """Listen on 127.0.0.1, and pass connections on to the same port of `hosts`, in turn."""
    turns = itertools.cycle(range(len(hosts)))

    def choose() -> list[Place]:
        first = next(turns)
        return [(host, port) for host in hosts[first:] + hosts[:first]]

    with passing_on(port, choose):
        yield


@contextlib.contextmanager
def passing_on(port: int, choose: Callable[[], list[Place]], host: str = "127.0.0.1") -> Iterator[None]:
    """Listen there, and pass each connection on to the first of the chosen places that takes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            for place in choose():
                with contextlib.suppress(OSError):
                    answers, requests = await asyncio.open_connection(*place)
                    with contextlib.closing(requests):
                        await asyncio.gather(relay(reader, requests), relay(answers, writer))
                    return

    async def relay(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, host, port):
            started.set()
            await stopping.wait()

    loop, started, stopping = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    def run() -> None:
        # At its end it cancels what still relays, and closes the loop.
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
