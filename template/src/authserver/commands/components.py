"""`components`: what can be called, and what it takes."""
# ruff: noqa: PLC0415

from authserver.commands import Json, print_rows


async def list_components(*, as_json: Json = False) -> None:
    """List the tools, resources and prompts of this server, with the scopes that each needs."""
    from app.server import mcp
    from authserver import components

    rows = [
        {"component": name, "scopes": " ".join(scopes) or "(none: whoever has a token)"}
        for name, scopes in await components.list_needs(mcp)
    ]
    print_rows(rows, as_json=as_json)
