"""`grants`: which app acts for whom."""

# ruff: noqa: PLC0415

from dataclasses import asdict

from cyclopts import App

from authserver.commands import Json, opened, print_rows, quoted, require, say, when

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
    from authserver.audit import Event, audit

    async with opened() as server:
        require(await server.storage.grants.revoke(grant_id), f"no living grant {quoted(grant_id)}")
        audit(Event.GRANT_REVOKED, grant=grant_id)
    say(f"{quoted(grant_id)} is revoked, with its tokens.")
