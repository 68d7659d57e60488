from fastmcp import FastMCP

forecasts = FastMCP("Forecasts")


@forecasts.tool
def tomorrow(city: str) -> str:
    return f"It will rain in {city}."


@forecasts.resource("forecast://{city}")
def forecast(city: str) -> str:
    return f"Rain: {city}"
