"""A body arrives in time: sent byte by byte, it would hold a connection, and whatever reads it, for ever."""

import asyncio

from starlette.types import Message, Receive

from authserver import clock, limits
from authserver.requests.reading import BadRequest


def in_time(receive: Receive) -> Receive:
    """Return a `receive` that raises BadRequest (408) where a body takes longer than `limits.BODY_SECONDS`.

    RFC 9110 section 15.5.9. What comes after the body, such as the end of the connection, may take any time.
    """
    deadline = clock.elapsed() + limits.BODY_SECONDS
    arrived = False

    async def receive_in_time() -> Message:
        nonlocal arrived
        if arrived:
            return await receive()
        try:
            async with asyncio.timeout(deadline - clock.elapsed()):
                message = await receive()
        except TimeoutError:
            raise BadRequest(
                f"the body did not arrive within {limits.BODY_SECONDS} seconds", status=408
            ) from None
        arrived = not message.get("more_body", False)
        return message

    return receive_in_time
