"""Issue tokens on the store of the server that is measured, each for a client of its own; print them."""

import asyncio
import json
import sys

from authserver import logs
from authserver.crypto.secret_values import Kind, digest, new_seed
from authserver.model.clients import RegisteredClient
from authserver.model.issued import AuthorizationRequest
from measured import auth
from pydantic import AnyUrl

URI = "http://127.0.0.1/cb"


async def main(count: int) -> list[dict[str, str]]:
    """Return the tokens of `count` clients."""
    assert auth is not None
    logs.configure()
    await auth.open()
    user = await auth.storage.users.add("alice", scopes=None)
    issued = []
    for number in range(count):
        client = RegisteredClient(
            client_id=f"client-{number}",
            redirect_uris=[AnyUrl(URI)],
            exact_redirect_uris=[URI],
            token_endpoint_auth_method="none",
            grant_types=["authorization_code", "refresh_token"],
        )
        await auth.register_client(client)
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
        session = new_seed()
        await auth.storage.sign_ins.add_session(
            session, user.subject, epoch=user.epoch, device="", lifetime_seconds=1000, limit=1
        )
        await auth.storage.grants.create(
            digest(Kind.AUTHORIZATION_REQUEST, request_id),
            session=session,
            scopes=["read"],
            grant_seconds=1000,
            code=digest(Kind.AUTHORIZATION_CODE, str(number)),
            code_seconds=100,
        )
        code = await auth.load_authorization_code(client, str(number))
        assert code is not None
        tokens = await auth.exchange_authorization_code(client, code)
        issued.append({"client_id": client.client_id, **tokens.model_dump(exclude_none=True)})
    await auth.close()
    return issued


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
