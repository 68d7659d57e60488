"""`clients`: the apps that are registered."""
# ruff: noqa: PLC0415

from cyclopts import App

from authserver.commands import CommandError, Json, opened, print_rows, quoted, require, say, when

clients = App(name="clients", help="The apps that are registered.")


@clients.command(name="list")
async def list_clients(*, as_json: Json = False) -> None:
    """List the registered clients."""
    async with opened() as server:
        rows = [
            {
                "client_id": client.client_id,
                "name": client.metadata.get("client_name", ""),
                "redirect_uris": " ".join(client.metadata["redirect_uris"]),
                "registered_at": when(client.created_at),
                "approved_at": when(client.approved_at),
                "first_used_at": when(client.completed_at),
            }
            for client in await server.storage.clients.all()
        ]
    print_rows(rows, as_json=as_json)


@clients.command
async def add(
    name: str, /, *redirect_uris: str, method: str = "client_secret_post", introspect: bool = False
) -> None:
    """Register a client; print its id and, this once, its secret.

    Parameters
    ----------
    name
        What users see on the consent page.
    redirect_uris
        Where codes may be sent.
    method
        How it authenticates: client_secret_post, client_secret_basic or none.
    introspect
        Let it ask about all tokens at /introspect: for services that check them. Needs no redirect URI.
    """
    from mcp.server.auth.provider import RegistrationError

    from authserver.endpoints.register import new_client
    from authserver.model.clients import AUTH_METHODS, parse_registration, resource_server

    if method not in AUTH_METHODS:
        raise CommandError(f"--method must be one of {', '.join(AUTH_METHODS)}")
    if introspect and method == "none":
        raise CommandError("--introspect is for clients with a secret")
    body = {
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "token_endpoint_auth_method": method,
    }
    async with opened() as server:
        try:
            metadata = (
                resource_server(name, method)
                if introspect and not redirect_uris
                else parse_registration(body, server.settings.redirect_schemes, server.scopes)
            )
            client, secret = new_client(
                server, metadata, address="operator", operated=True, introspects=introspect
            )
            await server.register_client(client)
        except RegistrationError as error:
            raise CommandError(str(error.error_description)) from None
    say(f"client_id: {client.client_id}")
    if secret is not None:
        say(f"client_secret: {secret}")


@clients.command
async def approve(client_id: str, /) -> None:
    """Let a client be used that registered itself (AUTH_REGISTRATION=approval).

    Of any other, say that you know it: browsers are then sent to it with an error, too, without being asked.
    """
    from authserver.audit import Event, audit

    async with opened() as server:
        require(await server.storage.clients.approve(client_id), f"no client {quoted(client_id)}")
        audit(Event.CLIENT_APPROVED, client=client_id)
    say(f"{quoted(client_id)} may be used.")


@clients.command
async def remove(client_id: str, /) -> None:
    """Remove a client with its grants and tokens."""
    from authserver.audit import Event, audit

    async with opened() as server:
        require(await server.storage.clients.remove(client_id), f"no client {quoted(client_id)}")
        audit(Event.CLIENT_REMOVED, client=client_id)
    say(f"{quoted(client_id)} is removed, with its grants and tokens.")
