import asyncio

from fastmcp import Client

from server import mcp


def test_add():
    async def main():
        async with Client(mcp) as client:
            return (await client.call_tool("add", {"a": 1, "b": 2})).data

    assert asyncio.run(main()) == 3
