"""Requests that no client sends: well-formed ones with odd parts, and raw bytes."""

import base64
import http.client
import io
import json
import random
import select
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

from oauth_client import OAuthClient
from person import Person, Site

# What the fields of all forms, queries and JSON bodies here are called.
_FORM_NAMES = (
    *("client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier"),
    *("csrf", "decision", "grant_type", "password", "password_again", "redirect_uri", "refresh_token"),
    *("request", "request_uri", "resource", "response_mode", "response_type", "scope", "state", "token"),
    *("token_type_hint", "username", "app", "apps", "device", "old_password", "remember", "seed"),
    *("challenge", "credential", "passkey", "passkey_name"),
)
_JSON_NAMES = (
    *("redirect_uris", "client_name", "client_uri", "scope", "grant_types", "jwks", "contacts"),
    *("token_endpoint_auth_method", "application_type", "jsonrpc", "id", "method", "params", "name"),
)
_WORDS = (
    *("authorization_code", "refresh_token", "code", "S256", "plain", "query", "allow", "deny", "read"),
    *("none", "tools/call", "2.0", "whoami", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWBuGJSstw-cM"),
)
_ODD = (
    *("", "%00", "%ff%fe", "%", "%zz", "%0d%0aX-Odd:%201", "+", "%20", "%F0%9F%92%A9", "%ed%a0%80", ".."),
    *("javascript:alert(1)", "https%3A%2F%2Fevil.example%2F", "%2F%2Fevil.example", "a" * 9000, "\u202e"),
    *("-1", "1e999", "9" * 400, "[]", "a[b]", "..;/", "'\"<>", "{{7*7}}"),
)
_CONTENT_TYPES = (
    *("application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-16", ""),
    *("application/json", "multipart/form-data; boundary=x", "text/plain"),
)


@dataclass(frozen=True)
class Known:
    """What is real on a server, so that odd requests get past the first checks."""

    site: Site
    host: str
    paths: list[str]
    values: list[str]
    cookies: str
    redirect_uri: str


def known(site: Site, paths: list[str], person: Person) -> Known:
    """Return real values: clients, codes, tokens, a request that waits for consent, a session."""
    client = OAuthClient(site, token_endpoint_auth_method="client_secret_basic")
    public = OAuthClient(site)
    tokens = client.tokens(person)
    codes = [public.code(person) for _ in range(3)]
    waiting = person.get(public.authorization_url())
    csrf = waiting.text.partition('name="csrf" value="')[2].partition('"')[0]
    request_id = str(waiting.url).partition("request=")[2]
    assert csrf
    assert request_id
    secrets = [client.secret, public.verifier, tokens["access_token"], tokens["refresh_token"], csrf]
    names = [client.id, public.id, client.REDIRECT_URI, request_id, f"{site.url}/mcp", person.name]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.browser.cookies.jar)
    values = [*secrets, *names, *codes, *_WORDS]
    return Known(site, urlsplit(site.url).netloc, paths, values, cookies, client.REDIRECT_URI)


class Dice(random.Random):
    """Throws requests: the same ones for the same seed."""

    def well_formed(self, real: Known) -> bytes:
        """Return an HTTP request to one of the routes, or near it."""
        path = self.choice(real.paths).replace("{token}", self.value(real))
        if self.random() < 0.1:
            path += "/" + self.choice(_ODD)
        query = self.form(real) if self.random() < 0.5 else ""
        body = self.choice([self.form, self.form, self.json, self.junk])(real).encode(errors="surrogatepass")
        method = self.choice(["GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"])
        head = [
            f"{method} {path}{'?' if query else ''}{query} HTTP/1.1",
            f"Host: {real.host if self.random() < 0.95 else 'evil.example'}",
            "Connection: close",
            f"Content-Type: {self.choice(_CONTENT_TYPES)}",
            f"Content-Length: {len(body)}",
            *self.sample(self.headers(real), self.randrange(5)),
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def raw(self, real: Known) -> bytes:
        """Return a request with bytes changed, taken out and put in: perhaps no HTTP at all."""
        request = self.well_formed(real)
        for _ in range(self.randrange(1, 5)):
            at = self.randrange(min(len(request), 400) + 1)
            request = request[:at] + self.randbytes(self.randrange(6)) + request[at + self.randrange(30) :]
        return request

    def value(self, real: Known) -> str:
        """Return one value, percent-encoded: a real one, a real one spoilt, or an odd one."""
        if self.random() < 0.25:
            return self.choice(_ODD)
        value = self.choice(real.values)
        if self.random() < 0.1:
            at = self.randrange(len(value))
            value = value[:at] + chr(self.randrange(0x2FF)) + value[at + 1 :]
        return quote_plus(value)

    def form(self, real: Known) -> str:
        names = self.sample(_FORM_NAMES, self.randrange(9))
        if self.random() < 0.1:
            names.append(self.choice([*names, *_ODD]))
        return "&".join(f"{name}={self.value(real)}" for name in names)

    def json(self, real: Known, depth: int = 0) -> str:
        def thing(depth: int) -> Any:
            kind = self.random()
            if kind < 0.2 and depth < 4:
                return [thing(depth + 1) for _ in range(self.randrange(4))]
            if kind < 0.5 and depth < 4:
                return {name: thing(depth + 1) for name in self.sample(_JSON_NAMES, self.randrange(6))}
            return self.choice([None, True, -1, 10**40, "", self.choice(real.values), self.choice(_ODD)])

        text = json.dumps(thing(0))
        return text if self.random() < 0.9 else self.choice(["[" * 9000, text + text, text[:-1], "NaN"])

    def junk(self, real: Known) -> str:
        return self.randbytes(self.randrange(200)).decode("latin-1")

    def headers(self, real: Known) -> list[str]:
        pair = f"{self.value(real)}:{self.value(real)}".encode()
        return [
            f"Authorization: Basic {base64.b64encode(pair).decode()}",
            f"Authorization: Bearer {self.choice(real.values)}",
            f"Authorization: {self.choice(['Basic', 'Bearer', 'Basic !', 'Negotiate x'])}",
            f"Origin: {self.choice([f'http://{real.host}', 'null', 'https://evil.example', 'x'])}",
            f"Cookie: {self.choice([real.cookies, '=; ;=', 'a=' + 'b' * 5000])}",
            f"Cookie: {real.cookies}",
            f"Accept: {self.choice(['text/html', 'application/json, text/event-stream', 'x'])}",
            f"X-Forwarded-For: {self.choice(['::1, x', '1.2.3.4', ','])}",
            f"Sec-Fetch-Site: {self.choice(['same-origin', 'cross-site', 'x'])}",
            f"Mcp-Protocol-Version: {self.choice(['2025-06-18', '2026-07-28', 'x'])}",
            "Transfer-Encoding: chunked",
        ]


class _Answer:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def send(site: Site, request: bytes, patience_seconds: float = 5) -> http.client.HTTPResponse | None:
    """Send the bytes; return the answer, None where the server hung up without one.

    A server hangs up on who hangs up, though a storage elsewhere is still at work on the answer: so wait for
    one, but not for long, since what is no whole request gets none.
    """
    host, _, port = urlsplit(site.url).netloc.rpartition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        try:
            connection.sendall(request)
            select.select([connection], [], [], patience_seconds)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass
    if not answer:
        return None
    response = http.client.HTTPResponse(_Answer(answer))  # type: ignore[arg-type]  # all that it reads
    response.begin()
    return response


def check(real: Known, request: bytes) -> int:
    """Send a request; return the status, 0 without one.

    Fails for a server error, and for a redirect to anywhere but this server and the client that began.
    """
    response = send(real.site, request, patience_seconds=0.1)
    if response is None:
        return 0
    assert response.status < 500, request
    assert "X-Odd" not in response.headers, request
    location = response.headers.get("location", "/")
    at_home = location.startswith((f"http://{real.host}/", "/")) and not location.startswith("//")
    assert at_home or location.startswith(f"{real.redirect_uri}?"), (request, location)
    return response.status
