import asyncio

from fastmcp import Client

from office_calendar import mcp


def test_days():
    async def main():
        async with Client(mcp) as client:
            return (await client.call_tool("days")).data

    assert asyncio.run(main()) == ["Monday", "Tuesday"]
