"""`keys`: those that sign tokens, and the one that seals them."""
# ruff: noqa: PLC0415

from cyclopts import App

from authserver.commands import Json, opened, print_rows, say, when

keys = App(name="keys", help="The keys that sign tokens, and the key that seals them.")


@keys.command(name="list")
async def list_keys(*, as_json: Json = False) -> None:
    """List the keys that sign access tokens."""
    async with opened() as server:
        rows = [
            {name: when(value) if name.endswith("_at") else value for name, value in key.items()}
            for key in await server.tokens.list_keys()
        ]
    print_rows(rows, as_json=as_json)


@keys.command
async def rotate(*, at_once: bool = False) -> None:
    """Make the next key that signs access tokens; print its id. No restart is needed.

    Parameters
    ----------
    at_once
        For when a key may have leaked: the new key signs at once, and every token signed before is refused.
    """
    async with opened() as server:
        say(await server.tokens.rotate_keys(at_once=at_once))


@keys.command
async def rewrap() -> None:
    """Seal again what AUTH_SECRET_KEY_PREVIOUS sealed: once every node runs with the new AUTH_SECRET_KEY."""
    from authserver.audit import Event, audit
    from authserver.crypto.keys import store_check_value

    async with opened() as server:
        count = await server.tokens.rewrap() + await server.login.rewrap()
        await store_check_value(server.storage, server.keys)
        audit(Event.SECRETS_SEALED_AGAIN, count=count)
        say(
            f"{count} secrets sealed again. AUTH_SECRET_KEY_PREVIOUS can go in"
            f" {server.settings.refresh_replay_seconds} seconds, when no answer made with it is repeated."
        )
