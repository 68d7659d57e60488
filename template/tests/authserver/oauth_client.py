"""A client that does OAuth by hand, step by step, well or badly."""

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from person import Person, Site, http_client


class OAuthClient:
    """An OAuth client, step by step. Its redirect URI leads nowhere: the browser's last hop is read."""

    REDIRECT_URI = "http://127.0.0.1:9/callback"

    def __init__(self, server: Site, **registration: Any) -> None:
        self.server = server
        self.http = http_client(server)
        body = {
            "redirect_uris": [self.REDIRECT_URI],
            "client_name": "Test client",
            "token_endpoint_auth_method": "none",
        } | registration
        answer = self.http.post("/register", json=body)
        assert answer.status_code == 201, answer.text
        self.registered = answer.json()
        self.id = self.registered["client_id"]
        self.secret = self.registered.get("client_secret")
        self.verifier = secrets.token_urlsafe(48)

    def authorization_url(self, **parameters: str | None) -> str:
        challenge = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.registered["redirect_uris"][0],
            "state": "the state",
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | parameters
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"{self.server.url}/authorize?{query}"

    def code(self, person: Person, **parameters: str | None) -> str:
        location = person.allow(self.authorization_url(**parameters))
        answer = answered(location)
        assert "code" in answer, answer
        return answer["code"]

    def post(self, path: str, **form: str | None) -> httpx2.Response:
        """Post a form, authenticated as registered."""
        fields = {name: value for name, value in form.items() if value is not None}
        match self.registered["token_endpoint_auth_method"]:
            case "client_secret_basic":
                return self.http.post(path, data=fields, auth=(self.id, self.secret))
            case "client_secret_post":
                fields = {"client_id": self.id, "client_secret": self.secret} | fields
        return self.http.post(path, data={"client_id": self.id} | fields)

    def redeem(self, code: str, /, **form: str | None) -> httpx2.Response:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.registered["redirect_uris"][0],
            "code_verifier": self.verifier,
        }
        return self.post("/token", **fields | form)

    def refresh(self, token: str, /, **form: str | None) -> httpx2.Response:
        return self.post("/token", grant_type="refresh_token", refresh_token=token, **form)

    def tokens(self, person: Person, **parameters: str | None) -> dict[str, Any]:
        answer = self.redeem(self.code(person, **parameters))
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens


def answered(location: str) -> dict[str, str]:
    """Return the parameters of an authorization response."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def call(server: Site, access_token: str, method: str = "tools/call", **params: Any) -> httpx2.Response:
    """Send one MCP request with a bearer token."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    with http_client(server) as http:
        return http.post(
            "/mcp",
            json=body,
            headers={
                "Authorization": f"Bearer {access_token}",
                "Accept": "application/json, text/event-stream",
                "Mcp-Protocol-Version": "2025-06-18",
            },
        )


def result(response: httpx2.Response) -> Any:
    """Return the result of an MCP answer, which may come as an event stream."""
    assert response.status_code == 200, response.text
    data = next(line for line in response.text.splitlines() if line.startswith(("data:", "{")))
    return json.loads(data.removeprefix("data:"))["result"]


def said(access_token: str) -> str:
    """Return the access token without a signature, which differs each time."""
    return access_token.rpartition(".")[0] or access_token


def alive(server: Site, access_token: str) -> bool:
    """Say whether the access token opens the MCP endpoint."""
    return call(server, access_token, name="whoami", arguments={}).status_code == 200
