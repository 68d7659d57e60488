"""Which redirect URIs can be registered, and which match."""

import pytest
import structlog
from mcp.server.auth.provider import RegistrationError

from authserver import Scope, warned
from authserver.model.clients import parse_registration, same_redirect_uri, usable_redirect_uris
from authserver.model.scopes import Scopes

SCOPES = Scopes([Scope("read", "Read.", default=True), Scope("write", "Write.")])

SCHEMES = ("cursor", "vscode")

LOOPBACK = "http://127.0.0.1:33418/callback"


@pytest.mark.parametrize(
    "uri",
    [
        "https://claude.ai/api/mcp/auth_callback",
        "http://localhost:8787/callback",
        "http://127.0.0.1/",
        "http://127.0.0.1",
        "http://[::1]:8080/cb?x=1",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.app:/callback",
        "https://example.com",
        "https://example.com:443/cb",
        "https://xn--exmple-cua.com/cb%2Fx?y=%20",
        "https://my_app.internal:8443/cb",
        "https://intranet/cb",
        "https://192.0.2.7/cb",
        "https://[2001:db8::7]:8443/cb",
    ],
)
def test_what_clients_use_is_registered_as_it_is(uri: str) -> None:
    assert usable_redirect_uris([uri], SCHEMES) == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "view-source:https://example.com",
        "filesystem:https://example.com/x",
        "intent://example.com/",
        "blob:https://example.com/1",
        "https://user@example.com/cb",
        "https://user:password@example.com/cb",
        "http://127.0.0.1@evil.example/cb",
        "https://example.com/cb#fragment",
        "https://example.com/cb#",
    ],
)
def test_a_dangerous_uri_refuses_the_whole_registration(uri: str) -> None:
    """Attack 22: register a redirect URI that runs script or reads files, disguised or not.
    Source: RFC 9700 4.1, RFC 8252 8.4.
    """
    with pytest.raises(RegistrationError) as refusal:
        usable_redirect_uris([LOOPBACK, uri], SCHEMES)
    assert refusal.value.error == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost.evil.example/cb",
        "http://127.1/cb",
        "http://10.0.0.1/cb",
        "unknown://callback",
        "https://",
        "https:///cb",
        "https://exa mple.com/cb",
        "https://example.com/\\evil",
        "https://exämple.com/cb",
        "//example.com/cb",
        "/cb",
        "",
        "https://example.com/" + "x" * 2000,
        "https://[::1",
        "https://*.example/cb",
        "https://*/cb",
        "https://a..b/cb",
        "https://.example.com/cb",
        "https://example.com./cb",
        "https://-a.example.com/cb",
        "https://a-.example.com/cb",
        "https://exa%6dple.com/cb",
        "https://" + "a" * 64 + ".example.com/cb",
        "https://" + "a." * 130 + "com/cb",
        "https://256.0.0.1/cb",
        "https://1.2.3/cb",
        "https://0x7f.1/cb",
        "https://example.123/cb",
        "https://[1.2.3.4]/cb",
        "https://[fe80::1%25eth0]/cb",
        "https://example.com:/cb",
        "https://example.com:99999/cb",
        "https://example.com/%zz",
        "https://example.com/%4",
        "https://example.com/cb?x=%",
        "cursor://anysphere.cursor-mcp/%g0",
    ],
)
def test_an_unusable_uri_is_dropped_and_the_rest_registered(uri: str) -> None:
    """Attack 22: hide a redirect URI that leads elsewhere among usable ones.
    Source: RFC 7591 5, RFC 8252 7.
    """
    assert usable_redirect_uris([LOOPBACK, uri], SCHEMES) == [LOOPBACK]
    with pytest.raises(RegistrationError) as refusal:
        usable_redirect_uris([uri], SCHEMES)
    assert refusal.value.error == "invalid_redirect_uri"


BEGINNINGS = ("app://host/cb/", "other://host/exact", "short:/cb")


@pytest.mark.parametrize(
    "uri",
    [
        "app://host/cb/",
        "app://host/cb/x?y=z",
        "App://HOST/cb/x",
        "other://host/exact",
        "other://host/exact?x=1",
        "other://host/exact/x",
        "short:/cb",
    ],
)
def test_a_uri_may_begin_as_the_setting_says(uri: str) -> None:
    assert usable_redirect_uris([uri], BEGINNINGS) == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "app://host/install",
        "app://host/CB/x",
        "app://host/cb/../install",
        "app://host/cb/%2e%2E/install",
        "app://host/cb/.%2e%2finstall",
        "app://host/cb/..%5cinstall",
        "app://host/cb/..;/install",
        "app://host/cb/..",
        "app://host.evil/cb/",
        "app://host:1/cb/",
        "app:host/cb/",
        "app:/host/cb/",
        "other://host/exactly",
        "other://host/exact%2f",
        "short://cb",
        "short:/cbx",
    ],
)
def test_a_uri_that_begins_otherwise_is_not_usable(uri: str) -> None:
    """Attack 33: come by another path of an app's scheme, where it does more than signing in.
    Source: RFC 9700 4.11.2, RFC 8252 8.4.
    """
    assert usable_redirect_uris([LOOPBACK, uri], BEGINNINGS) == [LOOPBACK]


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        (LOOPBACK, LOOPBACK),
        ("http://127.0.0.1:1/callback", LOOPBACK),
        ("http://127.0.0.1/callback", LOOPBACK),
        ("http://localhost:65535/cb?x=1", "http://localhost/cb?x=1"),
        ("http://[::1]:1234/cb", "http://[::1]:80/cb"),
        ("https://example.com/cb", "https://example.com/cb"),
        ("cursor://host/cb", "cursor://host/cb"),
    ],
)
def test_loopback_matches_on_all_but_the_port(asked: str, registered: str) -> None:
    assert same_redirect_uri(asked, registered)


@pytest.mark.parametrize(
    "asked",
    [
        "https://example.com/cb?x=1",
        "https://example.com/cb;params",
        "https://user@example.com/cb",
        "https://example.com/cb#fragment",
        "https://example.com/cb#",
        "https://example.com/CB",
        "https://example.com/cb/",
        "https://example.com/cb/..;/",
        "https://example.com/%2e%2e/cb",
        "https://example.com/x/../cb",
        "https://example.com\\/cb",
        "https://example.com/cb\t",
        "https://example.com/cb\n",
        "https://EXAMPLE.com/cb",
        "https://example.com:443/cb",
        "https://example.com.evil.example/cb",
        "https://xn--exmple-cua.com/cb",
        "http://example.com/cb",
        "",
    ],
)
def test_any_other_difference_is_another_uri(asked: str) -> None:
    """Attack 1: ask for a redirect URI that differs a little from the registered one.
    Source: RFC 9700 2.1, 4.1; Keycloak CVE-2026-3872; fosite CVE-2020-15233.
    """
    assert not same_redirect_uri(asked, "https://example.com/cb")


@pytest.mark.parametrize(
    "asked",
    [
        "http://localhost:33418/callback",
        "http://127.0.0.1:33418/callback/",
        "http://127.0.0.1:33418/callback?x",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:33418@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "https://127.0.0.1:33418/callback",
        "http://127.0.0.1:33418/callback\n",
        "HTTP://127.0.0.1:33418/callback",
    ],
)
def test_a_loopback_uri_differs_in_nothing_but_the_port(asked: str) -> None:
    """Attack 1: use the free port of loopback addresses to change more than the port.
    Source: RFC 8252 7.3.
    """
    assert not same_redirect_uri(asked, LOOPBACK)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"redirect_uris": "https://example.com"},
        {"redirect_uris": []},
        {"redirect_uris": [1]},
        {"redirect_uris": [LOOPBACK] * 51},
        {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": ["none"]},
        {"redirect_uris": [LOOPBACK], "grant_types": ["implicit"]},
        {"redirect_uris": [LOOPBACK], "grant_types": "authorization_code"},
        {"redirect_uris": [LOOPBACK], "response_types": ["token"]},
        {"redirect_uris": [LOOPBACK], "client_name": {}},
        {"redirect_uris": [LOOPBACK], "client_uri": "javascript:alert(1)"},
        {"redirect_uris": [LOOPBACK], "client_uri": "https://["},
        {"redirect_uris": [LOOPBACK], "scope": 7},
        {"redirect_uris": [LOOPBACK], "jwks": {"keys": [{"kty": "EC"}, {"kty": "EC", "d": "private"}]}},
        {"redirect_uris": [LOOPBACK], "jwks": {"keys": [{"kty": "oct", "k": "symmetric"}]}},
    ],
)
def test_bad_metadata_is_refused(body: object) -> None:
    """Attack 22: register metadata of the wrong form or far too many redirect URIs.
    Source: RFC 7591 3.2.2.
    """
    with pytest.raises(RegistrationError) as refusal:
        parse_registration(body, SCHEMES, SCOPES)
    assert refusal.value.error in ("invalid_client_metadata", "invalid_redirect_uri")


def test_a_client_sets_nothing_that_the_server_decides() -> None:
    """Attack 22: set what the server decides: id, secret, approval. Source: RFC 7591 2, 5."""
    metadata = parse_registration(
        {
            "redirect_uris": [LOOPBACK],
            "client_id": "mine",
            "client_secret": "mine",
            "approved": True,
            "operated": True,
            "secret_digest": "AA==",
            "exact_redirect_uris": ["https://evil.example"],
            "jwks": {"keys": [None, {"kty": "EC", "x": "public"}]},
            "client_name": "bell\x07 \ud800 right\u202eleft",
        },
        SCHEMES,
        SCOPES,
    )
    assert metadata == {
        "redirect_uris": [LOOPBACK],
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "bell  rightleft",
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("root everything", None),
        ("read root offline_access", "read"),
        ("write read write", "read write"),
        ("", None),
        (None, None),
    ],
)
def test_a_client_is_told_of_no_scope_that_does_not_exist(asked: str | None, told: str | None) -> None:
    """Attack 22: be told of rights that nobody can grant. Source: RFC 7591 3.2.1."""
    metadata = parse_registration({"redirect_uris": [LOOPBACK], "scope": asked}, SCHEMES, SCOPES)
    assert metadata.get("scope") == told


def test_a_refused_scheme_names_the_setting_that_lets_it_in() -> None:
    warned._warned.clear()
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            with pytest.raises(RegistrationError) as refusal:
                usable_redirect_uris(["foo://x/y", "http://not.loopback.example/"], BEGINNINGS)
        usable_redirect_uris(["bar://x/y", "https://example.com/"], BEGINNINGS)
    assert "AUTH_REDIRECT_SCHEMES" in str(refusal.value.error_description)
    assert ["AUTH_REDIRECT_SCHEMES" in line["event"] for line in logged] == [True, True]
    assert [line["sender"] for line in logged] == ["foo://x/y", "bar://x/y"]
