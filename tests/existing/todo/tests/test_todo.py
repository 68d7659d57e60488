import asyncio

from fastmcp import Client

from todo.mcp import app


def test_add_item():
    async def main():
        async with Client(app) as client:
            return (await client.call_tool("add_item", {"text": "Buy milk"})).data

    assert asyncio.run(main()) == 1
