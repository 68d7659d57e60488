"""A load balancer before several nodes: each connection goes to the next one that takes it."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def balancing(port: int, hosts: list[str]) -> Iterator[None]:
    """Listen on 127.0.0.1, and pass connections on to the same port of `hosts`, in turn."""
    turns = itertools.cycle(range(len(hosts)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(turns)
        for host in hosts[first:] + hosts[:first]:
            with contextlib.suppress(OSError):
                answers, requests = await asyncio.open_connection(host, port)
                await asyncio.gather(relay(reader, requests), relay(answers, writer))
                return
        writer.close()

    async def relay(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            started.set()
            await stopping.wait()

    loop, started, stopping = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
