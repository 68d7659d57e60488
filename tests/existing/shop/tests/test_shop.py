import asyncio

from fastmcp import Client

from shop.server import create_server


def test_price():
    async def main():
        async with Client(create_server()) as client:
            return (await client.call_tool("price", {"name": "tea"})).data

    assert asyncio.run(main()) == 3.5
