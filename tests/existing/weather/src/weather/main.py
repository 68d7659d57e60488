from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.middleware.timing import TimingMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from weather.forecasts import forecasts

server = FastMCP(
    "Weather",
    auth=StaticTokenVerifier({"dev-token": {"client_id": "dev", "scopes": []}}),
    middleware=[TimingMiddleware()],
)
server.mount(forecasts, namespace="forecasts")


@server.custom_route("/version", methods=["GET"])
async def version(request: Request) -> PlainTextResponse:
    return PlainTextResponse("1.2.0")


@server.resource("weather://stations")
def stations() -> list[str]:
    return ["Hamburg"]


@server.prompt
def ask(city: str) -> str:
    return f"What will the weather be like in {city}?"


def run() -> None:
    server.run(transport="http")
