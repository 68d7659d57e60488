"""The settings of every project: environment variables or `.env`, prefix `AUTH_`, units in their names.

A choice adds its own by a class `Settings` in its module; `all_settings.py` puts them together. A wrong one
stops the start with one line that names the variable, what is wrong and an example.

A variable that is empty is one that is not set. A path that is relative is one of the project's folder,
wherever the server is started. So is `.env`.

The text below a setting is what `.env.example` says of it. A file with a secret stands with the secret.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from authserver.errors import OperatorError
from authserver.folders import ENV, in_the_project
from authserver.uris import (
    BEGINNING,
    UNSAFE_SCHEMES,
    check_authority,
    check_one_machine,
    fold_front,
    plain_origin,
)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

# A hundred years: whoever means "for ever" may say so, and every clock and store can count it.
MAXIMUM_DAYS = 36_525
MAXIMUM_SECONDS = MAXIMUM_DAYS * 86_400

# More than one address can send in a minute, and than one process can have open.
MAXIMUM_COUNT = 1_000_000

PositiveSeconds = Annotated[int, Field(gt=0, le=MAXIMUM_SECONDS)]

VERBATIM = "verbatim"
"""Marks a setting whose white space counts, or does not matter: the separator of a list, JSON."""

_MAPPED_BITS = 96  # of ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)
# What Docker, systemd and `.env` hand on as it stands.
_FOR_A_SHELL = re.compile(r"\$\(|\$\{\w+\}|^\$\w+/")


class SettingsError(OperatorError):
    """A setting is missing or wrong. The text is one line for the operator and holds no secret."""


def _expanded(path: Path) -> Path:
    if re.match(r"[A-Za-z]{2,}:/", str(path)):
        raise ValueError("a path is needed, and no address")
    try:
        return in_the_project(path.expanduser())
    except RuntimeError:
        raise ValueError("~ stands for no folder here: write the whole path") from None


ProjectPath = Annotated[Path, AfterValidator(_expanded)]
"""A path; `~` stands for the home of the user that runs the server."""


def check_files(query: Mapping[str, Sequence[str]], *names: str) -> None:
    """Raise ValueError where an option of an address names a file that is none."""
    for name in names:
        for file in query.get(name, ()):
            if not Path(file).is_file():
                raise ValueError(f"{name} names no file that is there")


def secret_in(variable: str, file: Path) -> str:
    """Return the secret in the file that a setting names, without white space around it.

    Raises SettingsError where it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(
            f"{variable}: cannot be read ({reason}). Example: {_secret_file(variable)}"
        ) from None


def _one_of_both(variable: str) -> str:
    return f"{variable}: set it or {variable}_FILE, not both. Example: {_secret_file(f'{variable}_FILE')}"


def _secret_file(variable: str) -> str:
    return f"{variable}=/run/secrets/{variable.removesuffix('_FILE').lower()}"


def _unclean(value: str) -> str:
    """Return what is about a value that nobody means, '' for nothing."""
    if value != value.strip():
        return "white space at its ends"
    if not value.isprintable():
        return "control characters or odd spaces"
    # Shells and `.env` take them away, the lists of Docker and systemd may not.
    return "quotes around it" if value[:1] in ("'", '"') and value[:1] == value[-1:] else ""


class CoreSettings(BaseSettings):
    """What can be set in every project. Lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="AUTH_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return what is asked for values: the environment, then `.env`, wherever the server is started."""
        # With a mark at its beginning, too, as Windows writes it.
        env = DotEnvSettingsSource(settings_cls, env_file=in_the_project(ENV), env_file_encoding="utf-8-sig")
        return init_settings, env_settings, env

    public_url: str = Field(default="http://127.0.0.1:8000", examples=["https://mcp.example.com"])
    """The address by which clients and browsers reach the server: https, or http on a loopback address.
    Behind a reverse proxy it is the proxy's address. It is never guessed from a request.
    """

    secret_key: SecretStr | None = Field(default=None, examples=["$(openssl rand -base64 32)"])
    """The key that protects stored secrets. Nodes that share a storage have the same one.
    Make one: openssl rand -base64 32. Either the key or a file with it.
    """

    secret_key_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/auth_secret_key"])

    secret_key_previous: SecretStr | None = Field(default=None, examples=["the key before the rotation"])
    """To change the key: set the new one above and the last one here, restart every node, run `keys rewrap`,
    and take the last one out a minute later. Nobody has to sign in again.
    """

    secret_key_previous_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/previous_key"])

    new_store: bool = Field(default=True, examples=["false"])
    """Whether a start may begin with an empty store. Set it to false once there is an account: if the store
    was emptied since, or is another one by mistake, nothing starts, and no command makes a first account.
    """

    tls_certificate_file: ProjectPath | None = Field(default=None, examples=["/etc/my-server/tls.pem"])
    """For TLS without a proxy: a PEM file with the certificate for the name in AUTH_PUBLIC_URL, and after it
    those between it and its authority. A new one is taken without a restart. Only by `serve`: other ASGI
    servers have options of their own. Empty: no TLS here, a proxy in front has it.
    """

    tls_key_file: ProjectPath | None = Field(default=None, examples=["/etc/my-server/tls.key"])
    """The private key of that certificate, as a PEM file without a password, for the server's user only."""

    registration: Literal["open", "approval", "static"] = Field(default="open", examples=["open"])
    """Who may register an app: open (any app may, a person still has to allow it), approval (an operator
    approves each app first), static (only an operator adds apps).
    """

    access_token_seconds: PositiveSeconds = Field(default=3600, examples=["3600"])
    """How long an access token lasts. The app then gets another one by its refresh token."""

    refresh_token_seconds: PositiveSeconds = Field(default=2_592_000, examples=["2592000"])
    """How long a refresh token lasts: an app that was not used for so long has to be allowed again."""

    refresh_replay_seconds: int = Field(default=60, ge=0, le=MAXIMUM_SECONDS, examples=["60"])
    """For how long a refresh token that was just used gets the same answer again, since answers get lost.
    Used later, it counts as stolen, and its grant ends. Longer: apps of which several processes share a token
    sign in less often, and a thief who comes second is noticed later.
    """

    grant_seconds: PositiveSeconds = Field(default=7_776_000, examples=["7776000"])
    """How long an app goes on that somebody allowed, however often it is used. Then it has to be allowed
    again.
    """

    remember_consent_days: int = Field(default=0, ge=0, le=MAXIMUM_DAYS, examples=["30"])
    """For how many days people may have an app remembered that they allowed, so that they need not be asked
    when it connects again. Only an app that opens the browser itself profits, not a link on a web page.
    Another program on the same computer could pass for the app. 0: everybody is asked each time.
    """

    session_seconds: PositiveSeconds = Field(default=43_200, examples=["43200"])
    """How long a browser stays signed in."""

    limit_registrations_per_minute: int = Field(default=20, ge=0, le=MAXIMUM_COUNT, examples=["20"])
    """How many apps an address may register in a minute; 0 is off."""

    limit_sign_ins_per_minute: int = Field(default=20, ge=0, le=MAXIMUM_COUNT, examples=["20"])
    """How many failed sign-ins an address may have in a minute, and three times as many begun; 0 is off."""

    limit_refreshes_per_hour: int = Field(default=120, ge=0, le=MAXIMUM_COUNT, examples=["120"])
    """How often the tokens of one login may be refreshed in an hour, and at least twice in the lifetime of an
    access token; 0 is off.
    """

    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), examples=["10.0.0.0/8"]
    )
    """Reverse proxies whose X-Forwarded-For is believed: addresses or networks, separated by commas."""

    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), examples=["https://inspector.example.com"]
    )
    """Web pages elsewhere that may call this server, such as a browser-based MCP client: their origins,
    separated by commas.
    """

    announce_scopes: bool = Field(default=True, examples=["false"])
    """Whether apps learn before the sign-in which scopes there are. Some ask for those that are named,
    whatever their users set: with false, what is set counts. All still learn what a refused call needs.
    """

    redirect_schemes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(
            "cursor://anysphere.cursor-mcp/",
            "vscode://saoudrizwan.claude-dev/mcp-auth/callback/",
            "vscode-insiders://saoudrizwan.claude-dev/mcp-auth/callback/",
            "warp://mcp/oauth2callback",
        ),
        examples=["cursor://anysphere.cursor-mcp/,my-app:/callback"],
    )
    """How addresses of desktop apps begin that may receive codes, separated by commas, beside https and http
    on a loopback address. A scheme alone (cursor) allows all that apps do by it, such as installing things.
    """

    idle_client_days: int | None = Field(default=None, gt=0, le=MAXIMUM_DAYS, examples=["365"])
    """After so many days without use a registered app is forgotten. Empty: never. Some apps do not register
    again by themselves (VS Code, Claude Code, Codex): their users have to clear them first.
    """

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse what no value holds on purpose: nobody sees it, and nothing would ever match it."""
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field is None or not isinstance(value, str) or VERBATIM in field.metadata:
                continue
            # The key before may have been such a text, and has to be named to be left.
            if name != "secret_key_previous" and _FOR_A_SHELL.search(value):
                raise ValueError(
                    f"AUTH_{name.upper()}: only a shell would replace $ and what follows it."
                    " Example: write here what a shell would put there"
                )
            if wrong := _unclean(value):
                variable, example = f"AUTH_{name.upper()}", (field.examples or [""])[0]
                raise ValueError(f"{variable}: it has {wrong}. Example: {variable}={example}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read the file of a secret that is needed at once. All others are read where they are used."""
        for name, field in cls.model_fields.items():
            if not field.is_required() or (file := values.get(f"{name}_file")) is None:
                continue
            variable = f"AUTH_{name.upper()}"
            if values.get(name) is not None:
                raise ValueError(_one_of_both(variable))
            values = values | {name: secret_in(f"{variable}_FILE", _expanded(Path(file)))}
        return values

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        url = urlsplit(value)
        local = url.scheme == "http" and url.hostname in LOOPBACK_HOSTS
        if not url.hostname or not (url.scheme == "https" or local):
            raise ValueError("an https address is needed (http only for 127.0.0.1 and localhost)")
        if url.path or url.query or url.fragment or "@" in url.netloc or value.endswith(("?", "#")):
            raise ValueError("only scheme, host and port are allowed, without a slash at the end")
        if value != value.lower():
            raise ValueError("write it in lower case, as clients compare it letter by letter")
        check_authority(url)
        check_one_machine(url.hostname)
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(networks(split(value)))

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(plain_origin(item) for item in split(value))

    @field_validator("redirect_schemes", mode="before")
    @classmethod
    def _beginnings(cls, value: Any) -> Any:
        return tuple(fold_front(item) for item in split(value))

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            url = urlsplit(origin)
            if f"{url.scheme}://{url.netloc}" != origin or not url.netloc or "@" in url.netloc:
                raise ValueError(f"{origin!r} is no origin (scheme, host and port, no path)")
            check_authority(url)
        return value

    @field_validator("redirect_schemes")
    @classmethod
    def _schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not BEGINNING.fullmatch(item):
                raise ValueError(f"{item!r} is no URI scheme, and no scheme with the beginning of a path")
            if item.partition(":")[0] in (*UNSAFE_SCHEMES, "http", "https"):
                raise ValueError(f"{item!r} is never allowed here")
        return value

    @model_validator(mode="after")
    def _together(self) -> "CoreSettings":
        for name, field in type(self).model_fields.items():
            both = getattr(self, name) is not None and getattr(self, f"{name}_file", None) is not None
            if both and not field.is_required():  # a required one is what was read from its file
                raise ValueError(_one_of_both(f"AUTH_{name.upper()}"))
        if self.refresh_replay_seconds >= self.access_token_seconds:
            raise ValueError(
                "AUTH_REFRESH_REPLAY_SECONDS: must be less than AUTH_ACCESS_TOKEN_SECONDS, since a repeated"
                " answer holds the same access token. Example: AUTH_REFRESH_REPLAY_SECONDS=60"
            )
        return self

    @property
    def made_key_path(self) -> Path | None:
        """Where the secret key is made if none is set; None where the operator must set one."""
        return None

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server over https."""
        return self.public_url.startswith("https:")

    @property
    def host(self) -> str:
        """The Host header that requests must carry."""
        return self.public_url.partition("://")[2]


def secrets_among(settings: CoreSettings) -> list[str]:
    """Return the names of those settings that are secrets."""
    return [
        name
        for name, field in type(settings).model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]


def forget_secrets(settings: CoreSettings) -> None:
    """Take secrets out of the environment once they are read: no program that a tool starts inherits them."""
    secret = {f"auth_{name}" for name in secrets_among(settings)}
    for variable in [name for name in os.environ if name.lower() in secret]:
        del os.environ[variable]


def networks(items: Iterable[str]) -> Iterator[IPv4Network | IPv6Network]:
    """Yield the networks that are written so; raises ValueError."""
    for item in items:
        address, slash, _ = item.partition("/")
        network = ip_network(item, strict=False)
        if slash and network.network_address != ip_address(address):
            raise ValueError(f"{item!r} is an address in a network: write {network}, or {address} alone")
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped and network.prefixlen >= _MAPPED_BITS:
            network = ip_network((mapped, network.prefixlen - _MAPPED_BITS))  # as all peers are compared
        if "%" in item:
            raise ValueError(f"{item!r} has a zone, by which no peer is known: leave it out")
        yield network


def split(value: Any) -> list[str]:
    """Return the items of a list that is set as text, separated by commas."""
    if isinstance(value, str):
        value = value.split(",")
    return [str(item).strip() for item in value if str(item).strip()]
