"""`components`: what can be called, and what it takes."""
# ruff: noqa: PLC0415

from authserver.commands import Json, print_rows
from authserver.commands.app import load_app


async def list_components(*, as_json: Json = False) -> None:
    """List the tools, resources and prompts of this server, with the scopes that each needs."""
    from authserver import components
    from authserver.upstream import other_providers

    mcp, server = load_app()
    otherwise = " ".join(server.otherwise)
    by_default = f"{otherwise} (by default)" if otherwise else "(none: whoever has a token)"
    rows = [
        {"component": name, "scopes": " ".join(scopes) or by_default}
        for name, scopes in await components.list_needs(mcp)
    ]
    rows += [
        {"component": f"whatever {provider} offers (not looked at)", "scopes": by_default}
        for provider in other_providers(mcp)
    ]
    print_rows(rows, as_json=as_json)
