import asyncio

from fastmcp import Client

from weather.main import server


def test_mounted_tools_are_there():
    async def main():
        async with Client(server) as client:
            return [tool.name for tool in await client.list_tools()]

    assert asyncio.run(main()) == ["forecasts_tomorrow"]
