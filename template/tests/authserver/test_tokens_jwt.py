"""JWT access tokens: what they say, which are refused, and how their keys come and go.

In the template itself another format is chosen, so these tests choose this one for themselves.
"""

import asyncio
import base64
import contextlib
import hmac
import json
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import conftest
import pytest
import structlog
from conftest import SCOPES, Live, ended, new_person, new_store, sample
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from engines import Engine
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt
from joserfc.jwk import ECKey
from oauth_client import OAuthClient, alive, call
from operators import Operator
from person import Person
from storage import operations

from authserver import AuthorizationServer, choices, limits
from authserver import all_settings as configuration
from authserver.all_settings import load_settings
from authserver.background import follow_forever
from authserver.crypto.sealing import Seal
from authserver.crypto.secret_values import Kind, digest, new
from authserver.model.records import Revocation
from authserver.settings import SettingsError
from authserver.storage import Storage
from authserver.storage.errors import StorageUnavailable
from authserver.storage.verdicts import Issued
from authserver.tokens import jwt as chosen
from authserver.tokens.jwt import parsing, signing
from authserver.tokens.jwt.stored_keys import StoredKeys

SEAL = Seal([b"a secret key"])


class Settings(configuration.Settings, chosen.Settings):
    """Those of the project, with those of this format."""


@pytest.fixture(scope="module", autouse=True)
def _chosen() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choices, "tokens", chosen)
        patch.setattr(configuration, "Settings", Settings)
        patch.setattr(conftest, "Settings", Settings)
        vars(conftest.OWN_APP.mcp.auth).pop("tokens", None)
        yield
    vars(conftest.OWN_APP.mcp.auth).pop("tokens", None)


def inside(server: Live) -> Any:
    """The format of a running server: the tests' one way to its private keys."""
    return server.auth.tokens


def key_set(server: Live) -> jwk.KeySet:
    metadata = server.http().get("/.well-known/oauth-authorization-server").json()
    assert metadata["jwks_uri"] == f"{server.url}/.well-known/jwks.json"
    return jwk.KeySet.import_key_set(server.http().get("/.well-known/jwks.json").json())


def decoded(server: Live, token: str) -> jwt.Token:
    """Verify a token as another service does."""
    return jwt.decode(token, key_set(server), algorithms=["ES256", "Ed25519", "RS256"])


# ------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_a_token_says_what_rfc_9068_asks_for(start: Callable[..., Live], algorithm: str) -> None:
    server = start(token_algorithm=algorithm)
    client = OAuthClient(server)
    token = client.tokens(new_person(server, "alice", ["*"]), scope="write")["access_token"]
    assert alive(server, token)
    read = decoded(server, token)
    [key] = key_set(server)
    assert read.header == {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    claims = read.claims
    assert claims.keys() == {
        *("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "grant_id", "preferred_username")
    }
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (server.url, server.mcp_url, client.id)
    assert claims["scope"] == "read write"
    assert claims["preferred_username"] == "alice"
    assert claims["exp"] - claims["iat"] == 3600


def test_a_repeated_answer_has_the_same_claims(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    refresh = client.tokens(alice)["refresh_token"]
    first, again = (client.refresh(refresh).json()["access_token"] for _ in range(2))
    assert decoded(live, first).claims == decoded(live, again).claims
    assert alive(live, first)
    assert alive(live, again)


def test_a_check_reads_nothing_from_the_storage(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = OAuthClient(live).tokens(alice)["access_token"]
    reads: list[str] = []

    def recorded(name: str, operation: Any) -> Any:
        def record(*arguments: Any, **options: Any) -> Any:
            reads.append(name)
            return operation(*arguments, **options)

        return record

    for operation, kind in operations(live.auth.storage).items():
        name = operation.rpartition(".")[2]
        monkeypatch.setattr(kind, name, recorded(operation, getattr(kind, name)))
    for _ in range(20):
        assert alive(live, token)
    assert set(reads) <= {"grants.list_revocations", "facts.all"}, reads  # each second, whoever calls


def test_narrower_rights_of_a_user_take_effect_at_the_next_refresh(live: Live) -> None:
    person = new_person(live, "narrowed", ["write"])
    client = OAuthClient(live)
    tokens = client.tokens(person, scope="write")
    change: dict[str, Any] = {"name": "change", "arguments": {"text": "x"}}
    anyio.run(live.on_storage, lambda storage: storage.users.set_scopes("narrowed", ["read"]))
    assert call(live, tokens["access_token"], **change).status_code == 200
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert call(live, renewed["access_token"], **change).status_code == 403


def test_an_opaque_token_from_before_is_honoured_until_it_runs_out(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    grant_id = decoded(live, client.tokens(alice)["access_token"]).claims["grant_id"]
    token = new(Kind.ACCESS_TOKEN)
    anyio.run(
        live.on_storage,
        lambda storage: storage.grants.add_access_token(
            digest(Kind.ACCESS_TOKEN, token), grant_id=grant_id, scopes=["read"], expires_at=time.time() + 60
        ),
    )
    assert alive(live, token)
    assert not alive(live, new(Kind.ACCESS_TOKEN))


# -------------------------------------------------------------------------------------------- forging


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(server: Live, header: Any, payload: Any) -> str:
    """Sign anything with the server's own key: all else about the token may be wrong."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    message = ".".join(map(base64url, parts))
    signature = anyio.run(inside(server)._keys.signer.sign, message.encode())
    return f"{message}.{base64url(signature)}"


@pytest.fixture(scope="module")
def genuine(live: Live, alice: Person) -> jwt.Token:
    return decoded(live, OAuthClient(live).tokens(alice)["access_token"])


def refused(server: Live, token: str) -> None:
    with server.http() as http:
        answer = http.post("/mcp", headers={"Authorization": f"Bearer {token}"}, json={})
    assert answer.status_code == 401, token
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_only_one_change_keeps_a_forged_token_from_being_accepted(live: Live, genuine: jwt.Token) -> None:
    """The tests below prove something, since what they change is accepted unchanged."""
    assert alive(live, signed(live, genuine.header, genuine.claims))
    assert alive(live, signed(live, genuine.header, genuine.claims | {"nbf": int(time.time()) + 50}))


ATTACKER = ECKey.generate_key("P-256")
ATTACKER_JWK = ATTACKER.as_dict(private=False)


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "AT+JWT"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "Ed25519"},
        {"alg": "none"},
        {"alg": None},
        {"alg": ["ES256"]},
        {"kid": None},
        {"kid": ""},
        {"kid": "unknown"},
        {"kid": "../../../dev/null"},
        {"kid": "x' OR 1=1 --"},
        {"kid": ["x"]},
        {"kid": "\x00"},
        {"jwk": ATTACKER_JWK},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["AA=="]},
        {"x5t": "AA"},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"iss": "x"},
    ],
)
def test_a_header_that_is_not_ours_is_refused(live: Live, genuine: jwt.Token, change: dict[str, Any]) -> None:
    """Attack 19: another algorithm, type or key in the header, signed all the same.
    Source: RFC 8725 3.1, 3.5, 3.10, 3.11; RFC 9068 4; CVE-2026-27962.
    """
    header = {name: value for name, value in (genuine.header | change).items() if value is not None}
    refused(live, signed(live, header, genuine.claims))


def test_no_signature_but_that_of_the_key_is_accepted(live: Live, genuine: jwt.Token) -> None:
    """Attack 19: no algorithm, a public key as shared secret, a key of one's own, another token's signature.
    Source: RFC 8725 2.1, 3.1; CVE-2024-37568.
    """
    [key] = key_set(live)
    assert isinstance(key, ECKey)
    right = signed(live, genuine.header, genuine.claims)
    message, _, signature = right.rpartition(".")
    payload = message.partition(".")[2]
    other = signed(live, genuine.header, genuine.claims | {"jti": "other"})
    none = base64url(json.dumps(genuine.header | {"alg": "none"}).encode())
    shared = base64url(json.dumps(genuine.header | {"alg": "HS256"}).encode())
    public_halves = [key.as_pem(private=False), key.as_der(private=False), json.dumps(key.as_dict()).encode()]
    for forged in (
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        *(f"{shared}.{payload}.{hs256(half, f'{shared}.{payload}')}" for half in public_halves),
        jwt.encode(genuine.header, genuine.claims, ATTACKER, ["ES256"]),
        jwt.encode(genuine.header | {"jwk": ATTACKER_JWK}, genuine.claims, ATTACKER, ["ES256"]),
        jwt.encode(genuine.header | {"kid": ATTACKER.thumbprint()}, genuine.claims, ATTACKER, ["ES256"]),
        f"{message}.{other.rpartition('.')[2]}",
        f"{message}.{base64url(bytes(64))}",
        f"{message}.{signature[:-2]}",
        f"{message}.{signature}AA",
        f"{message}.A",
    ):
        refused(live, forged)
    assert alive(live, right)


def hs256(secret: bytes, message: str) -> str:
    return base64url(hmac.digest(secret, message.encode(), "sha256"))


NOW = int(time.time())


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"iss": "{iss}/"},
        {"iss": "{ISS}"},
        {"iss": ["{iss}"]},
        {"iss": None},
        {"aud": "https://evil.example/mcp"},
        {"aud": "{iss}/mcp-other"},
        {"aud": "{iss}/mc"},
        {"aud": "{iss}/mcp/x"},
        {"aud": "{iss}"},
        {"aud": ["{iss}/mcp"]},
        {"aud": ["{iss}/mcp", "https://evil.example"]},
        {"aud": None},
        {"exp": NOW - 1},
        {"exp": str(NOW + 500)},
        {"exp": float(NOW + 500)},
        {"exp": True},
        {"exp": None},
        {"nbf": NOW + 500},
        {"nbf": "0"},
        {"iat": NOW + 500},
        {"iat": None},
        *(
            {name: value}
            for name in ("sub", "client_id", "grant_id", "jti", "scope")
            for value in (None, 7, "")
        ),
        {"preferred_username": {}},
    ],
)
def test_claims_that_are_not_right_are_refused(
    live: Live, genuine: jwt.Token, change: dict[str, Any]
) -> None:
    """Attack 19, 20: another issuer, resource or time; claims of another type or missing.
    Source: RFC 9068 4, RFC 8725 3.8, 3.9, RFC 8707 2.
    """

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, str):
            return value.replace("{iss}", live.url).replace("{ISS}", live.url.upper())
        return value

    claims = genuine.claims | {name: filled(value) for name, value in change.items()}
    refused(live, signed(live, genuine.header, {k: v for k, v in claims.items() if v is not None}))


def test_what_parsers_disagree_about_is_refused(live: Live, genuine: jwt.Token) -> None:
    """Attack 19: members twice, other encodings, forms and sizes. Source: RFC 8725 2.4, 3.7, RFC 7515 4."""
    header, claims = (json.dumps(part).encode() for part in (genuine.header, genuine.claims))
    right = signed(live, header, claims)
    one, two, three = right.split(".")
    scope = b'"scope": "read"'
    assert scope in claims
    for token in (
        signed(live, header.replace(b"{", b'{"alg": "ES256", '), claims),
        signed(live, header, claims.replace(scope, scope + b', "scope": "read"')),
        signed(live, header, claims.replace(scope, scope + b', "x": NaN')),
        signed(live, header, claims.decode().encode("utf-16")),
        signed(live, b"\xef\xbb\xbf" + header, claims),
        signed(live, header, b"[" * 2000 + b"]" * 2000),
        signed(live, header, b'{"exp": ' + b"9" * 5000 + b"}"),
        signed(live, header, b"[]"),
        signed(live, header, b""),
        signed(live, b"null", claims),
        signed(live, header, genuine.claims | {"long": "x" * 8000}),
        f"{one}.{two}",
        f"{one}..{three}",
        f"{right}.",
        f"{right}.{three}",
        f"{one}.{two}.{three}=",
        f"{one}=.{two}.{three}",
        f"{one}. {two}.{three}",
        f"{one}.{two}.{three[:-1]}{'B' if three[-1] == 'A' else chr(ord(three[-1]) + 1)}",
        f"{one}.x.{two}.{two}.{three}",
        json.dumps({"payload": two, "protected": one, "signature": three}),
        "A" * 60_000,
        "." * 60_000,
    ):
        refused(live, token)
    assert alive(live, right)


def test_true_is_no_time() -> None:
    """Attack 19: a claim of a type that counts as a number. Source: RFC 7519 2, RFC 8725 3.8."""
    names = ("iss", "aud", "sub", "client_id", "jti", "scope", "grant_id", "preferred_username")
    claims = dict.fromkeys(names, "x") | {"iat": 1, "exp": 1}
    assert parsing.access_token(json.dumps(claims).encode(), "x").expires_at == 1
    with pytest.raises(parsing.NotAToken):
        parsing.access_token(json.dumps(claims | {"iat": True}).encode(), "x")


def test_a_code_or_a_refresh_token_is_no_access_token(live: Live, alice: Person) -> None:
    """Attack 20: present what was given for another purpose. Source: RFC 9068 5, RFC 6749 1.5."""
    client = OAuthClient(live)
    tokens = client.tokens(alice)
    for value in (tokens["refresh_token"], client.code(alice), client.verifier):
        refused(live, value)


@given(st.data())
def test_no_text_breaks_the_parser(data: st.DataObject) -> None:
    """Attack 19, 27: tokens that are changed, cut and made up. Source: RFC 8725 2.4, threat model."""
    header = base64url(b'{"alg":"ES256","kid":"x","typ":"at+jwt"}')
    right = f"{header}.{base64url(b'{}')}.{base64url(bytes(64))}"
    json_like = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    claims = {"iss": "me", "aud": "x", "sub": "x", "client_id": "x", "jti": "x", "scope": "x"}
    claims |= {"grant_id": "x", "preferred_username": "x"}
    token = data.draw(
        st.text()
        | st.binary().map(lambda part: f"{base64url(part)}.{base64url(part)}.{base64url(part)}")
        | json_like.map(lambda value: right.replace(header, base64url(json.dumps(value).encode())))
        | st.tuples(st.integers(0, len(right)), st.text(max_size=3)).map(
            lambda change: right[: change[0]] + change[1] + right[change[0] + 1 :]
        )
    )
    payload = data.draw(
        st.binary()
        | json_like.map(lambda value: json.dumps(value).encode())
        | st.dictionaries(st.sampled_from([*claims, "exp", "iat", "nbf"]), json_like).map(
            lambda changed: json.dumps(claims | {"exp": 1, "iat": 1} | changed).encode()
        )
    )
    for read in (lambda: parsing.split(token), lambda: parsing.access_token(payload, "me")):
        with contextlib.suppress(parsing.NotAToken):
            read()


# ------------------------------------------------------------------------------------------ revocation


@pytest.mark.parametrize("end", ["revoke", "remove", "disable"])
def test_what_ends_a_grant_ends_its_tokens_on_every_node(start: Callable[..., Live], end: str) -> None:
    """Attack 19, 24: go on with a token that nobody looks up. Source: RFC 7009 2.1, RFC 9068 4."""
    here = start()
    client = OAuthClient(here)
    token = client.tokens(new_person(here, "ann"))["access_token"]
    there = AuthorizationServer(SCOPES, here.settings)
    there.set_mcp_path("/mcp")

    async def end_it_and_wait_there() -> None:
        await there.open()
        following = asyncio.create_task(follow_forever(there))
        assert await there.verify_token(token)

        async def by_another_process(storage: Storage) -> None:
            match end:
                case "revoke":
                    [grant] = await storage.grants.all()
                    assert await storage.grants.revoke(grant.grant_id)
                case "remove":
                    assert await storage.clients.remove(client.id)
                case _:
                    assert await storage.users.disable("ann")

        await here.on_storage(by_another_process)
        await asyncio.sleep(there.tokens.revoked_within_seconds)
        assert await there.verify_token(token) is None
        following.cancel()
        await there.close()

    anyio.run(end_it_and_wait_there)
    assert ended(here, token)


def test_a_node_that_starts_later_knows_what_was_revoked(start: Callable[..., Live]) -> None:
    """Attack 19, 24: try a node that was not there when the grant ended. Source: RFC 7009 2.1."""
    server = start()
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "ann"))
    assert client.post("/revoke", token=tokens["refresh_token"]).status_code == 200
    server.stop()
    server.start()
    assert not alive(server, tokens["access_token"])


def test_without_the_storage_tokens_hold_for_two_seconds_and_then_are_answered_503(
    start: Callable[..., Live],
) -> None:
    """Attack 18, 19: cut a node off, so that it hears of no revocation. Source: threat model."""
    server = start()
    client = OAuthClient(server)
    token = client.tokens(new_person(server, "ann"))["access_token"]
    assert alive(server, token)

    async def broken(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(server.auth.storage.grants), "list_revocations", broken)
        time.sleep(2.1)
        assert call(server, token, name="whoami", arguments={}).status_code == 503
        refused(server, "what is no token at all")
    assert alive(server, token)


class Following:
    """A node that follows the store `storage`, what it asks, and the clocks, which tests set."""

    def __init__(self, storage: Storage, store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.steady, self.wall, self.of_the_store = 1000.0, time.time(), 0.0
        self.asked: list[float | None] = []
        self.told: list[float] = []
        self.ended: list[Revocation] = []
        monkeypatch.setattr("authserver.clock.elapsed", lambda: self.steady)
        monkeypatch.setattr("authserver.clock.now", lambda: self.wall)
        monkeypatch.setattr(storage.grants, "list_revocations", self._list)
        self.tokens = chosen.create(Settings.model_validate(store))
        self.tokens.open(storage, SEAL)

    async def _list(self, since: float | None) -> tuple[float, list[Revocation]]:
        self.asked.append(since)
        return self.of_the_store, self.ended

    async def token(self) -> str:
        """Return a token of the grant `grant`, for an hour from now."""
        resource = "https://example.com/mcp"
        issued = Issued("grant", "client", "subject", "ann", ("read",), resource, self.wall, self.wall + 3600)
        return await self.tokens.encode(b"seed", issued)


@pytest.fixture
async def following(
    storage: Storage, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Following]:
    node = Following(storage, store, monkeypatch)
    node.of_the_store = node.wall + 7
    yield node
    await node.tokens.close()


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [1, 20, 3600])
async def test_a_node_asks_from_where_the_store_was_whatever_its_own_clocks_say(
    following: Following, seconds: float
) -> None:
    """Attack 19: pause the machine of a node, whose clocks stand still, and disable a user meanwhile.
    Source: clock_gettime(2), CLOCK_MONOTONIC.
    """
    await following.tokens.catch_up()
    heard = following.of_the_store
    following.of_the_store += seconds
    await following.tokens.catch_up()
    assert following.asked == [None, heard - limits.REVOCATIONS_AGAIN_SECONDS]


@pytest.mark.anyio
async def test_where_the_clock_of_the_store_was_set_back_everything_is_read_again(
    following: Following,
) -> None:
    """Attack 19: what is revoked after a failover bears the time of a clock that is behind.
    Source: threat model.
    """
    await following.tokens.catch_up()
    following.of_the_store -= 300
    await following.tokens.catch_up()
    await following.tokens.catch_up()
    again = following.of_the_store - limits.REVOCATIONS_AGAIN_SECONDS
    assert following.asked == [None, again + 300, None, again]


@pytest.mark.anyio
@pytest.mark.parametrize("clock", ["steady", "wall"])
async def test_a_node_that_slept_asks_before_it_believes_a_token(
    following: Following, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """Attack 19: use a revoked token on a machine that wakes: one of its clocks stood still.
    Source: clock_gettime(2), CLOCK_MONOTONIC.
    """
    token = await following.token()
    assert await following.tokens.load(token)
    following.ended = [Revocation("grant", following.wall + 3600)]
    setattr(following, clock, getattr(following, clock) + limits.REVOKED_WITHIN_SECONDS + 0.1)
    assert await following.tokens.load(token) is None


@pytest.mark.anyio
async def test_a_clock_that_was_set_forward_by_mistake_forgets_no_revocation(following: Following) -> None:
    """Attack 19: use a revoked token after the clock of a node was a day ahead for a while.
    Source: threat model.
    """
    following.ended = [Revocation("grant", following.wall + 3600)]
    await following.tokens.catch_up()
    following.ended = []
    for seconds in (86_400, -86_400):
        following.wall += seconds
        await following.tokens.catch_up()
    assert await following.tokens.load(await following.token()) is None


# ------------------------------------------------------------------------------------- what is cached


async def rotate_as_the_command_does(server: Live) -> str:
    """Let the next key sign at once, from a connection of one's own."""
    other = sample(server.settings).auth
    assert isinstance(other, AuthorizationServer)
    await other.open()
    kid = await other.tokens.rotate_keys(at_once=True)
    await other.close()
    return kid


def test_a_token_is_refused_from_the_second_that_it_names(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 19: use a token at the end of its time. Source: RFC 7519 4.1.4.

    The clock is that of our check alone: the SDK's own looks at whole seconds, and later.
    """
    token = OAuthClient(live).tokens(alice)["access_token"]
    ends = decoded(live, token).claims["exp"]
    for moment, accepted in ((ends - 0.01, True), (ends, False)):
        monkeypatch.setattr("authserver.clock.now", lambda moment=moment: moment)
        assert alive(live, token) is accepted


def test_a_cached_token_runs_out_and_its_key_can_be_taken_away(start: Callable[..., Live]) -> None:
    """Attack 19: a token that was accepted before, after its time, and after its key. Source: RFC 9068 4."""
    server = start(access_token_seconds=6, refresh_replay_seconds=0)
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "ann"))
    assert alive(server, tokens["access_token"])
    time.sleep(6.1)
    refused(server, tokens["access_token"])
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert alive(server, renewed["access_token"])
    kid = anyio.run(rotate_as_the_command_does, server)
    time.sleep(server.auth.tokens.revoked_within_seconds)
    refused(server, renewed["access_token"])
    third = client.refresh(renewed["refresh_token"]).json()
    assert decoded(server, third["access_token"]).header["kid"] == kid
    assert alive(server, third["access_token"])


def test_what_is_remembered_of_tokens_is_bounded(
    live: Live, genuine: jwt.Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 19, 27: fill the memory with tokens, good and bad. Source: CWE-770."""
    monkeypatch.setattr(limits, "VERIFIED_TOKENS", 3)
    inside(live)._verified.clear()
    for number in range(6):
        assert alive(live, signed(live, genuine.header, genuine.claims | {"jti": f"{number}"}))
        refused(live, f"{number}.x.y")
    assert len(inside(live)._verified) == 3


def test_unknown_keys_are_looked_for_once_a_second(
    live: Live, genuine: jwt.Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 19, 27: make the server read its storage by made-up key ids. Source: CWE-400."""
    reads = 0
    everything = type(live.auth.storage.facts).all

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await everything(*arguments)

    monkeypatch.setattr(type(live.auth.storage.facts), "all", counted)
    began = time.monotonic()
    for number in range(50):
        refused(live, signed(live, genuine.header | {"kid": f"{number}"}, genuine.claims))
    # The follower's own, and one for each of its seconds at most.
    assert reads <= 2 * (time.monotonic() - began) + 3


# ------------------------------------------------------------------------------------------------ keys


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that tests set, in the first place."""
    now = [1_000_000.0]
    monkeypatch.setattr("authserver.clock.now", lambda: now[0])
    return now


def node(storage: Storage, *, lead: float = 600, tokens: float = 3600) -> StoredKeys:
    keys = StoredKeys(algorithm="ES256", lead_seconds=lead, token_seconds=tokens)
    keys.open(storage.facts, SEAL)
    return keys


def kids(keys: StoredKeys) -> list[str]:
    return [key.kid for key in keys.published]


@pytest.mark.anyio
async def test_a_key_is_published_before_it_signs_and_until_its_tokens_are_gone(
    storage: Storage, clock: list[float]
) -> None:
    here, there = node(storage), node(storage)
    await here.catch_up()
    await there.catch_up()
    [first] = kids(here)
    assert here.signer.kid == there.signer.kid == first  # the very first signs at once
    second = await here.rotate(at_once=False)
    await there.catch_up()
    for seconds, signer, published in (
        (0, first, [first, second]),
        (599, first, [first, second]),
        (2, second, [first, second]),
        (3600 + 58, second, [first, second]),
        (2, second, [second]),
    ):
        clock[0] += seconds
        for keys in (here, there):
            await keys.catch_up()
            assert (keys.signer.kid, kids(keys)) == (signer, published)
    assert len(await storage.facts.all("signing key ")) == 1


@pytest.mark.anyio
async def test_nodes_that_start_or_rotate_at_once_agree_on_the_keys(storage: Storage) -> None:
    nodes = [node(storage) for _ in range(10)]
    await asyncio.gather(*(keys.catch_up() for keys in nodes))
    assert len({keys.signer.kid for keys in nodes}) == 1
    made = await asyncio.gather(*(keys.rotate(at_once=False) for keys in nodes))
    for keys in nodes:
        await keys.catch_up()
        assert set(made) < set(kids(keys))
    assert len(await storage.facts.all("signing key ")) == 1 + len(set(made))


@pytest.mark.anyio
async def test_a_node_whose_clock_is_late_signs_with_the_first_key(
    storage: Storage, clock: list[float]
) -> None:
    await node(storage).catch_up()
    clock[0] -= 60
    late = node(storage)
    await late.catch_up()
    assert late.signer.kid == kids(late)[0]


def test_the_key_set_is_cached_for_less_than_a_key_is_published_ahead(live: Live) -> None:
    http = live.http()
    first = http.get("/.well-known/jwks.json")
    assert first.headers["cache-control"] == "public, max-age=300"
    again = http.get("/.well-known/jwks.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = http.get("/.well-known/jwks.json", headers={"If-None-Match": '"other"'})
    assert other.json() == first.json()
    for key in first.json()["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_the_operator_lists_and_rotates_keys(start: Callable[..., Live], operator: Operator) -> None:
    server = start()
    token = OAuthClient(server).tokens(new_person(server, "ann"))["access_token"]
    before = server.http().get("/.well-known/jwks.json").headers["etag"]
    made = operator.types("keys", "rotate").strip()
    first, second = operator.rows("keys", "list")
    assert (first["signs"], second["signs"], second["kid"]) == (True, False, made)
    assert first["signs_at"] < second["signs_at"]
    deadline = time.monotonic() + 300
    while server.http().get("/.well-known/jwks.json").headers["etag"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {key.kid for key in key_set(server)} == {first["kid"], made}
    assert alive(server, token)
    assert "PRIVATE" not in operator.types("keys", "list")


def test_no_private_key_is_stored_logged_or_shown(engine: Engine, operator: Operator, tmp_path: Path) -> None:
    """Attack 26: look for private keys wherever something is written. Source: OWASP ASVS 5.0 13.3."""
    operator.store = new_store(engine, "signing-keys")
    with structlog.testing.capture_logs() as logged:
        server = Live(operator.store).start()
        operator.types("keys", "rotate")
        server.stop()
        server.start()
        server.stop()
    operator.types("backup", str(tmp_path / "backup"))
    written = engine.contents("signing-keys") + (tmp_path / "backup").read_bytes()
    written += json.dumps(logged).encode() + repr((inside(server), inside(server)._keys)).encode()
    assert b"signing key 1" in written
    assert b"PRIVATE KEY" not in written
    for pair in inside(server)._keys.published:
        private = pair.key.private_key.private_numbers().private_value.to_bytes(32, "big")
        lines = pair.key.as_pem(private=True).splitlines()[1:-1]
        for secret in (private, private.hex().encode(), base64url(private).encode(), *lines):
            assert secret not in written
        assert base64url(private) not in repr(pair) + str(pair.jwk())


# ---------------------------------------------------------------------------------------- given keys


def pem(folder: Path, name: str, algorithm: str = "ES256", *, private: bool = True) -> Path:
    pair = signing.read(signing.make(algorithm))
    for half in ("private", "public"):
        (folder / f"{name}.{half}").write_bytes(pair.key.as_pem(private=half == "private"))
    return folder / f"{name}.{'private' if private else 'public'}"


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_a_key_may_be_given_as_a_file(start: Callable[..., Live], tmp_path: Path, algorithm: str) -> None:
    file = pem(tmp_path, "mine", algorithm)
    following = pem(tmp_path, "next", private=False)
    server = start(signing_key_file=file, published_key_files=[following])
    token = OAuthClient(server).tokens(new_person(server, "ann"))["access_token"]
    assert alive(server, token)
    assert decoded(server, token).header["kid"] == signing.read(file.read_bytes()).kid
    assert [key.kid for key in key_set(server)] == [
        signing.read(path.read_bytes()).kid for path in (following, file)
    ]


SIGN = """
import sys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes, serialization
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))
"""


def command(folder: Path, program: str, *arguments: Path) -> str:
    (folder / "sign.py").write_text(program)
    return shlex.join([sys.executable, str(folder / "sign.py"), *map(str, arguments)])


def test_a_command_may_sign_with_a_key_that_never_comes_here(
    start: Callable[..., Live], tmp_path: Path
) -> None:
    public = pem(tmp_path, "hsm", private=False)
    server = start(
        signing_key_file=public, signing_key_command=command(tmp_path, SIGN, public.with_suffix(".private"))
    )
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "ann"))
    assert alive(server, tokens["access_token"])
    # The command fails: nothing is lost, the client tries again.
    (tmp_path / "sign.py").write_text("raise SystemExit(1)")
    answer = client.refresh(tokens["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    (tmp_path / "sign.py").write_text(SIGN)
    assert alive(server, client.refresh(tokens["refresh_token"]).json()["access_token"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "program",
    [
        "",
        "raise SystemExit(3)",
        "print('x' * 70)",
        "import sys; sys.stdout.buffer.write(bytes(64))",
        "import sys; sys.stdout.buffer.write(bytes.fromhex('3006020100020100'))",
    ],
)
async def test_a_command_that_does_not_sign_is_one_line(tmp_path: Path, program: str) -> None:
    pair = signing.read(pem(tmp_path, "hsm", private=False).read_bytes())
    with pytest.raises(signing.CannotSign, match=r"^AUTH_SIGNING_KEY_COMMAND: "):
        await signing.CommandSigner(pair, command(tmp_path, program)).sign(b"message")
    with pytest.raises(signing.CannotSign, match="cannot be run"):
        await signing.CommandSigner(pair, str(tmp_path / "missing")).sign(b"message")


@pytest.mark.parametrize(
    ("given_settings", "line"),
    [
        ({"signing_key_file": "missing"}, "AUTH_SIGNING_KEY_FILE: .* cannot be read"),
        ({"signing_key_file": "mine.public"}, "AUTH_SIGNING_KEY_FILE: .* must hold a private key"),
        ({"signing_key_file": "junk"}, "AUTH_SIGNING_KEY_FILE: .*PEM"),
        ({"signing_key_file": "small"}, "AUTH_SIGNING_KEY_FILE: .*2048"),
        (
            {"signing_key_file": "mine.private", "signing_key_command": "x"},
            "AUTH_SIGNING_KEY_FILE: .* must hold a public key",
        ),
        (
            {"signing_key_file": "mine.private", "published_key_files": "mine.private"},
            "AUTH_PUBLISHED_KEY_FILES: .* must hold a public key",
        ),
    ],
)
def test_a_key_that_cannot_be_used_stops_the_start(
    tmp_path: Path, store: dict[str, str], given_settings: dict[str, str], line: str
) -> None:
    """Run in `tmp_path`."""
    pem(tmp_path, "mine")
    (tmp_path / "junk").write_text("a secret that is no key")
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    (tmp_path / "small").write_bytes(small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SettingsError, match=line) as refusal:
        chosen.create(Settings.model_validate(store | given_settings))
    assert "a secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_settings_that_do_not_fit_together_are_refused(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in store.items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", value)
    for variable, value in (
        ("AUTH_SIGNING_KEY_COMMAND", "sign"),
        ("AUTH_PUBLISHED_KEY_FILES", "a.pem, b.pem"),
        ("AUTH_TOKEN_ALGORITHM", "HS256"),
        ("AUTH_SIGNING_KEY_LEAD_SECONDS", "4"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            load_settings.cache_clear()
            with pytest.raises(SettingsError, match=r"^AUTH_(SIGNING|TOKEN).*Example: "):
                load_settings()


# ------------------------------------------------------------------------------------- the secret key


def test_signing_keys_outlive_a_change_of_the_secret_key(
    start: Callable[..., Live], operator: Operator, store: dict[str, str]
) -> None:
    old = start()
    client = OAuthClient(old)
    tokens = client.tokens(new_person(old, "ann"))
    made = old.settings.made_key_path
    previous = store.get("secret_key") or (made.read_text() if made else "")
    old.stop()
    operator.store = store | {"secret_key": "n" * 40, "secret_key_previous": previous}
    assert operator.types("keys", "rewrap").startswith("1 secrets sealed again")
    assert operator.types("keys", "rewrap").startswith("0 secrets sealed again")
    new = Live(store | {"secret_key": "n" * 40}, old.port).start()
    assert alive(new, tokens["access_token"])
    assert len(list(key_set(new))) == 1
    new.stop()


# ------------------------------------------------------------------------------------------- doctor


def test_doctor_says_who_can_read_the_key_and_who_takes_revoked_tokens(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch(0o600)
    safe = {"signing_key_file": key}
    assert list(chosen.checks(chosen.Settings.model_validate(safe))) == []
    key.chmod(0o644)
    [finding] = chosen.checks(chosen.Settings.model_validate(safe))
    assert finding.about == "AUTH_SIGNING_KEY_FILE"
    assert finding.level == "unsafe"
    public_half = safe | {"signing_key_command": "sign"}
    assert list(chosen.checks(chosen.Settings.model_validate(public_half))) == []
    [finding] = chosen.checks(chosen.Settings.model_validate({"access_token_seconds": 7200}))
    assert finding.about == "AUTH_ACCESS_TOKEN_SECONDS"
    key.chmod(0o600)
    os.utime(key, (0, 0))
    [finding] = chosen.checks(chosen.Settings.model_validate(safe))
    assert finding.rule == "old-key-of-your-own"
