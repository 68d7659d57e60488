"""Issue tokens on the store of the server that is measured; print them, and a client that may introspect."""

import asyncio
import json
import sys
from typing import Any

from measured import auth
from pydantic import AnyUrl

from authserver import logs
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest, new_seed
from authserver.endpoints.register import new_client
from authserver.model.clients import RegisteredClient, resource_server
from authserver.model.issued import AuthorizationRequest

URI = "http://127.0.0.1/cb"


async def main(count: int) -> dict[str, Any]:
    """Return `count` refresh tokens of a client, each of a grant of its own, and an access token."""
    assert auth is not None
    logs.configure()
    await auth.open()
    user = await auth.storage.users.add("alice", scopes=None)
    client = RegisteredClient(
        client_id="bench",
        redirect_uris=[AnyUrl(URI)],
        exact_redirect_uris=[URI],
        token_endpoint_auth_method="none",
        grant_types=["authorization_code", "refresh_token"],
    )
    await auth.register_client(client)
    asking, secret = new_client(
        auth, resource_server("rs", "client_secret_basic"), address="", operated=True, introspects=True
    )
    await auth.register_client(asking)
    session = new_seed()
    await auth.storage.sign_ins.add_session(
        session, user.subject, epoch=user.epoch, device="", lifetime_seconds=1000, limit=1
    )
    issued = []
    for number in range(count):
        asked = AuthorizationRequest(
            state=None,
            scopes=None,
            code_challenge="x" * 43,
            redirect_uri=AnyUrl(URI),
            exact_redirect_uri=URI,
            redirect_uri_provided_explicitly=True,
            address=str(number),
        )
        request_id = (await auth.authorize(client, asked)).partition("request=")[2]
        value = secret_values.new(Kind.AUTHORIZATION_CODE)
        await auth.storage.grants.create(
            digest(Kind.AUTHORIZATION_REQUEST, request_id),
            session=session,
            scopes=["read"],
            grant_seconds=100_000,
            code=digest(Kind.AUTHORIZATION_CODE, value),
            code_seconds=100,
        )
        code = await auth.load_authorization_code(client, value)
        assert code is not None
        issued.append(await auth.exchange_authorization_code(client, code))
    await auth.close()
    return {
        "client": client.client_id,
        "access": issued[0].access_token,
        "refresh": [one.refresh_token for one in issued],
        "rs": asking.client_id,
        "secret": secret,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
