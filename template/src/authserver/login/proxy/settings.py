"""The settings of this login: which proxy may name people, and how."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from authserver.requests import strict_json
from authserver.settings import VERBATIM, CoreSettings, ProjectPath, networks, split
from authserver.uris import check_authority

# No underscore: proxies drop such names, or hand on those of anybody.
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")

# What browsers and programs send by themselves, and what is read for something else.
_OF_EVERYBODY = {
    *("accept", "accept-encoding", "accept-language", "authorization", "connection", "content-length"),
    *("content-type", "cookie", "host", "origin", "referer", "user-agent"),
    *("auth-proxy-secret", "x-forwarded-for"),
}


class Settings(CoreSettings):
    """What can be set for sign-in by a reverse proxy."""

    proxy_peers: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), validate_default=True, examples=["127.0.0.1"]
    )
    """The addresses or networks of the proxy that signs people in, separated by commas. It must be set. Only
    a request that comes directly from there may name a person.
    """

    proxy_user_header: str = Field(default="Remote-User", examples=["Remote-User"])
    """The header in which it names them. The proxy must set it in every request, or remove it."""

    proxy_secret: SecretStr | None = Field(default=None, examples=["$(openssl rand -base64 32)"])
    """If it is set, the proxy must show it in the header Auth-Proxy-Secret: for where others share its
    address. Either the secret or a file with it.
    """

    proxy_secret_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/auth_proxy_secret"])

    proxy_groups_header: str = Field(default="Remote-Groups", examples=["Remote-Groups"])
    """The header in which the proxy names the groups of a person."""

    proxy_groups_separator: Annotated[str, VERBATIM] = Field(default=",", min_length=1, examples=[","])
    """What stands between two groups in that header."""

    proxy_group_scopes: Annotated[dict[str, str], NoDecode, VERBATIM] = Field(
        default={}, examples=['{"staff": "notes:read", "admins": "*"}']
    )
    """What people may let apps do, by their groups: {"staff": "notes:read", "admins": "*"}. Empty: groups
    decide nothing, `users scopes` does.
    """

    proxy_sign_out_url: str | None = Field(default=None, examples=["https://auth.example.com/logout"])
    """Where people sign out of the proxy: an address, or a path on this host."""

    @field_validator("proxy_peers", mode="before")
    @classmethod
    def _peers(cls, value: Any) -> Any:
        peers = tuple(networks(split(value)))
        if not peers:
            raise ValueError("it must be set to the address of the proxy that signs people in")
        return peers

    @field_validator("proxy_user_header", "proxy_groups_header")
    @classmethod
    def _header(cls, value: str) -> str:
        if not _HEADER.fullmatch(value):
            raise ValueError("the name of a header has letters, digits and hyphens")
        if value.lower() in _OF_EVERYBODY:
            raise ValueError("this header comes from every visitor, or says something else")
        return value

    @field_validator("proxy_groups_separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            raise ValueError("what stands in a header is visible ASCII, or spaces")
        return value

    @field_validator("proxy_group_scopes", mode="before")
    @classmethod
    def _group_scopes(cls, value: Any) -> Any:
        try:
            groups = strict_json.loads(value) if isinstance(value, str) else value
        except ValueError:
            groups = None
        if not isinstance(groups, dict) or not all(
            name and name == name.strip() and name.isprintable() for name in groups
        ):
            raise ValueError("a JSON object is needed, from names of groups, each once, to scopes")
        return groups

    @field_validator("proxy_sign_out_url")
    @classmethod
    def _sign_out_url(cls, value: str | None) -> str | None:
        url = urlsplit(value or "")
        here = not url.scheme and not url.netloc and url.path.startswith("/")
        if value and not here and not (url.scheme in ("http", "https") and url.netloc):
            raise ValueError("an address is needed, or a path on this host")
        if value and not (value.isascii() and not re.search(r"[\s\\]", value)):
            raise ValueError("what is not ASCII, and spaces, are percent-encoded")
        if value and not here:
            check_authority(url)
        return value or None

    @model_validator(mode="after")
    def _guarded(self) -> "Settings":
        if self.proxy_user_header.lower() == self.proxy_groups_header.lower():
            raise ValueError(
                "AUTH_PROXY_GROUPS_HEADER: it must be another header than AUTH_PROXY_USER_HEADER."
                " Example: AUTH_PROXY_GROUPS_HEADER=Remote-Groups"
            )
        anybody = any(network.prefixlen == 0 for network in self.proxy_peers)
        if anybody and self.proxy_secret is None and self.proxy_secret_file is None:
            raise ValueError(
                "AUTH_PROXY_PEERS: this lets everybody name themselves, unless AUTH_PROXY_SECRET is set."
                " Example: AUTH_PROXY_PEERS=127.0.0.1"
            )
        return self
