"""What runs beside the requests, in each process, and when."""

import asyncio
import contextlib

from authserver import limits
from authserver.provider import Provider
from authserver.storage.errors import StorageUnavailable


def start(server: Provider) -> list[asyncio.Task[None]]:
    """Start all of it, for an open server; the caller cancels it."""
    return [
        asyncio.create_task(follow_forever(server)),
        asyncio.create_task(purge_forever(server)),
        asyncio.create_task(server.login.watch()),
    ]


async def follow_forever(server: Provider) -> None:
    """Learn now and then what other processes did."""
    while True:
        await asyncio.sleep(limits.FOLLOW_EVERY_SECONDS)
        with contextlib.suppress(StorageUnavailable):
            await server.tokens.catch_up()


async def purge_forever(server: Provider) -> None:
    """Delete what has expired, now and then, in bounded batches."""
    while True:
        await asyncio.sleep(limits.PURGE_EVERY_SECONDS)
        with contextlib.suppress(StorageUnavailable):
            await purge(server)


async def purge(server: Provider) -> int:
    """Delete what has expired; return how many records went. Raises StorageUnavailable."""
    settings = server.settings
    days = settings.idle_client_days
    total = 0
    while True:
        deleted = await server.storage.purge(
            limit=limits.PURGE_RECORDS,
            replay_seconds=settings.refresh_replay_seconds,
            unused_seconds=limits.UNUSED_CLIENT_SECONDS,
            idle_seconds=None if days is None else days * 86_400,
        )
        total += deleted
        if deleted < limits.PURGE_RECORDS:
            return total
        await asyncio.sleep(limits.SWEEP_PAUSE_SECONDS)
