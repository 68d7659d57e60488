"""With a passkey, kept by an authenticator in software."""

import base64
import hashlib
import html
import json
import re
import secrets
from typing import Any

import cbor2
import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from person import Form, Person

PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
"""Flags of the authenticator data (WebAuthn Level 3, section 6.1)."""


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


class Key:
    """A passkey as a device that synchronises keeps it: it counts nothing."""

    def __init__(self, user_handle: bytes = b"nobody") -> None:
        self.user_handle = user_handle
        self.id = secrets.token_bytes(32)
        self.sign_count = 0
        self.flags = PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP
        self._private = ec.generate_private_key(ec.SECP256R1())

    def made(self, options: dict[str, Any], origin: str, /, **client: Any) -> dict[str, Any]:
        """Return what a browser returns of navigator.credentials.create."""
        numbers = self._private.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(options["rp"]["id"], ATTESTED) + attested
        return self._answer(
            clientDataJSON=_client_data("webauthn.create", options, origin, client),
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
        )

    def used(self, options: dict[str, Any], origin: str, /, **client: Any) -> dict[str, Any]:
        """Return what a browser returns of navigator.credentials.get."""
        client_data = _client_data("webauthn.get", options, origin, client)
        data = self._data(options["rpId"])
        signed = data + hashlib.sha256(client_data).digest()
        return self._answer(
            clientDataJSON=client_data,
            authenticatorData=data,
            signature=self._private.sign(signed, ec.ECDSA(hashes.SHA256())),
            userHandle=self.user_handle,
        )

    def _data(self, rp_id: str, more_flags: int = 0) -> bytes:
        flags = bytes([self.flags | more_flags])
        return hashlib.sha256(rp_id.encode()).digest() + flags + self.sign_count.to_bytes(4, "big")

    def _answer(self, **response: bytes) -> dict[str, Any]:
        encoded = {name: encode(data) for name, data in response.items()}
        return {"id": encode(self.id), "rawId": encode(self.id), "type": "public-key", "response": encoded}


def _client_data(kind: str, options: dict[str, Any], origin: str, client: dict[str, Any]) -> bytes:
    data = {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
    return json.dumps(data | client).encode()


def options_of(page: httpx2.Response) -> dict[str, Any]:
    """Return what a page hands to the browser."""
    [options] = re.findall(r"data-options='([^']*)'", page.text)
    found: dict[str, Any] = json.loads(html.unescape(options))
    return found


keys: dict[tuple[str, str], Key] = {}
"""The passkey of each person at each site, on all their devices."""


class PasskeyWay:
    """The Way protocol with an authenticator."""

    def settings(self) -> dict[str, str]:
        """Return nothing: there is nothing to set."""
        return {}

    def join(self, person: Person, link: str) -> httpx2.Response:
        """Make a passkey."""
        return self.make(person, person.get(link))

    def make(self, person: Person, page: httpx2.Response) -> httpx2.Response:
        """Make a passkey where a page asks for one."""
        if not self.asks(page):
            return page  # the link is used up
        options = options_of(page)
        key = Key(decode(options["user"]["id"]))
        name = Form(page.text, "credential").fields["username"] or person.name
        answered = self.send(person, page, key.made(options, person.url), username=name)
        if answered.status_code == 200:
            keys[person.url, name] = key
        return answered

    def asks(self, page: httpx2.Response) -> bool:
        """Look for the options."""
        return "data-options" in page.text

    def sign_in(self, person: Person, page: httpx2.Response) -> httpx2.Response:
        """Use the passkey of this name, one that nobody knows where there is none."""
        key = keys.get((person.url, person.name)) or Key()
        return self.send(person, page, key.used(options_of(page), person.url))

    def send(
        self, person: Person, page: httpx2.Response, answer: dict[str, Any], **fields: str
    ) -> httpx2.Response:
        """Send what the script would."""
        return person.submit(page, "credential", credential=json.dumps(answer), **fields)


WAY = PasskeyWay()
