from fastmcp import FastMCP
from office_dates import DAYS

mcp = FastMCP("Calendar")


@mcp.tool
def days() -> list[str]:
    return list(DAYS)
