"""`grants`: which app acts for whom."""

from dataclasses import asdict

from cyclopts import App

from authserver.commands import Json, opened, print_rows, require, when

grants = App(name="grants", help="Which app acts for whom.")


@grants.command(name="list")
async def list_grants(*, as_json: Json = False) -> None:
    """List the grants that are alive."""
    async with opened() as server:
        rows = [
            asdict(grant)
            | {
                "scopes": " ".join(grant.scopes),
                "created_at": when(grant.created_at),
                "used_at": when(grant.used_at),
                "expires_at": when(grant.expires_at),
            }
            for grant in await server.storage.grants.all()
        ]
    print_rows(rows, as_json=as_json)


@grants.command
async def revoke(grant_id: str, /) -> None:
    """Revoke a grant with its tokens."""
    async with opened() as server:
        require(await server.storage.grants.revoke(grant_id), f"no living grant {grant_id}")
