import os
import sqlite3
from contextlib import asynccontextmanager

from fastmcp import Context, FastMCP


@asynccontextmanager
async def lifespan(server: FastMCP):
    database = sqlite3.connect(os.environ.get("SHOP_DATABASE", ":memory:"))
    database.execute("CREATE TABLE IF NOT EXISTS items (name TEXT, price REAL)")
    database.execute("INSERT INTO items VALUES ('tea', 3.5)")
    try:
        yield {"database": database}
    finally:
        database.close()


def create_server() -> FastMCP:
    mcp = FastMCP("Shop", lifespan=lifespan)

    @mcp.tool
    async def price(name: str, ctx: Context) -> float:
        database = ctx.request_context.lifespan_context["database"]
        return database.execute("SELECT price FROM items WHERE name = ?", (name,)).fetchone()[0]

    return mcp
