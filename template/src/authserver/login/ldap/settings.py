"""The settings of the directory: where it is, how to get in, what to look for."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from authserver.login.ldap.names import is_attribute, is_dn, is_filter
from authserver.requests import strict_json
from authserver.settings import (
    LOOPBACK_HOSTS,
    MAXIMUM_DAYS,
    VERBATIM,
    ProjectPath,
    SettingsError,
    split,
)
from authserver.uris import check_authority
from authserver.with_password.second_factor import Settings as SecondFactorSettings

_SCHEMES = ("ldap", "ldaps")


class Settings(SecondFactorSettings):
    """What this login needs to know of an LDAP directory or an Active Directory."""

    ldap_servers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=..., examples=["ldaps://dc1.example.com,ldaps://dc2.example.com"]
    )
    """The directory: its servers, asked in this order, separated by commas. ldaps:// is encrypted from the
    beginning, ldap:// by StartTLS.
    """

    ldap_start_tls: bool = Field(default=True, examples=["true"])
    """Whether ldap:// must be encrypted by StartTLS; false is allowed for loopback addresses only."""

    ldap_ca_file: ProjectPath | None = Field(default=None, examples=["/etc/ssl/certs/company-ca.pem"])
    """A file with the certificate of the authority that vouches for the servers, in place of the system's
    own.
    """

    ldap_timeout_seconds: int = Field(default=5, gt=0, le=60, examples=["5"])
    """How long a server may take to connect, and for each answer, before the next one is asked."""

    ldap_bind_dn: str | None = Field(default=None, examples=["cn=mcp,ou=services,dc=example,dc=com"])
    """A service account that may read the people's entries."""

    ldap_bind_password: SecretStr | None = Field(default=None, examples=["the password"])
    """Its password, or a file with it."""

    ldap_bind_password_file: ProjectPath | None = Field(
        default=None, examples=["/run/secrets/ldap_bind_password"]
    )

    ldap_bind_template: str | None = Field(default=None, examples=["uid={name},ou=people,dc=example,dc=com"])
    """Or, without a service account, the name to bind as: uid={name},ou=people,dc=example,dc=com or
    {name}@corp.example.com. Accounts that are disabled in the directory then keep their grants until these
    end.
    """

    ldap_base: str = Field(default=..., examples=["ou=people,dc=example,dc=com"])
    """The entry below which the people are."""

    ldap_filter: str = Field(default="(objectClass=person)", examples=["(objectClass=person)"])
    """Which of the entries there may sign in. Active Directory:
    (&(objectCategory=person)(objectClass=user)(memberOf=cn=mcp,ou=groups,dc=corp,dc=example,dc=com))
    """

    ldap_name_attribute: str = Field(default="uid", examples=["sAMAccountName"])
    """The attribute that people type to sign in. Active Directory: sAMAccountName."""

    ldap_id_attribute: str = Field(default="entryUUID", examples=["objectGUID"])
    """An attribute that never changes and is never used again for somebody else. Active Directory:
    objectGUID.
    """

    ldap_groups_attribute: str = Field(default="memberOf", examples=["memberOf"])
    """The attribute with the groups of a person."""

    ldap_groups_base: str | None = Field(default=None, examples=["ou=groups,dc=example,dc=com"])
    """Or, where people have no such attribute: the entry below which the groups are."""

    ldap_groups_filter: str = Field(default="(member={dn})", examples=["(member={dn})"])
    """Which of the entries there are groups of a person; {dn} and {name} stand for those of the person."""

    ldap_group_scopes: Annotated[dict[str, str], NoDecode, VERBATIM] = Field(
        default={}, examples=['{"cn=editors,ou=groups,dc=example,dc=com": "notes:write"}']
    )
    """What the members of groups may allow, beside the default scopes: JSON, scopes separated by spaces,
    `*` for all. {"cn=editors,ou=groups,dc=example,dc=com": "notes:write"}. Empty: `users scopes` says it.
    """

    ldap_check_minutes: int = Field(default=15, gt=0, le=MAXIMUM_DAYS * 1440, examples=["15"])
    """How often to look for accounts that are gone or disabled: their sessions and grants end."""

    ldap_many_gone: Literal["wait", "agree", "hold"] = Field(default="wait", examples=["agree"])
    """What happens where more than a few accounts, and more than a fifth, are suddenly gone or disabled in
    the directory, as when it is an empty copy: wait (they are disabled here if the next look finds the same),
    agree (at once: they are gone indeed), hold (nobody is, whatever the looks find).
    """

    @field_validator("ldap_servers", mode="before")
    @classmethod
    def _list_of_servers(cls, value: Any) -> Any:
        return tuple(split(value))

    @field_validator("ldap_servers")
    @classmethod
    def _servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            url = urlsplit(server)
            if f"{url.scheme}://{url.netloc}" != server or not url.hostname or "@" in url.netloc:
                raise ValueError(f"{server!r} is no address of a directory (scheme, host and port)")
            if url.scheme not in _SCHEMES:
                raise ValueError(f"{server!r} must begin with ldaps:// or ldap://")
            check_authority(url)
        if not value:
            raise ValueError("at least one server is needed")
        return value

    @field_validator("ldap_base", "ldap_groups_base")
    @classmethod
    def _dn(cls, value: str | None) -> str | None:
        if value is not None and not is_dn(value):
            raise ValueError("this is no distinguished name")
        return value

    @field_validator("ldap_filter", "ldap_groups_filter")
    @classmethod
    def _filter(cls, value: str) -> str:
        if not is_filter(value):
            raise ValueError("this is no search filter (RFC 4515)")
        return value

    @field_validator("ldap_groups_filter")
    @classmethod
    def _of_a_person(cls, value: str) -> str:
        if not any(of in value for of in ("{dn}", "{name}")):
            raise ValueError("without {dn} or {name}, everybody would be in all groups")
        return value

    @field_validator("ldap_name_attribute", "ldap_id_attribute", "ldap_groups_attribute")
    @classmethod
    def _attribute(cls, value: str) -> str:
        if not is_attribute(value):
            raise ValueError("this is no name of an attribute")
        return value

    @field_validator("ldap_bind_template")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        if value is not None and "{name}" not in value:
            raise ValueError("it must hold {name}")
        return value

    @field_validator("ldap_group_scopes", mode="before")
    @classmethod
    def _group_scopes(cls, value: Any) -> Any:
        try:
            groups = strict_json.loads(value) if isinstance(value, str) else value
        except ValueError:
            groups = None
        if not isinstance(groups, dict) or not all(is_dn(group) for group in groups):
            raise ValueError("a JSON object is needed, from names (DN) of groups, each once, to scopes")
        return groups

    @model_validator(mode="after")
    def _ldap_together(self) -> "Settings":
        if self.ldap_bind_dn is None and self.ldap_bind_template is None:
            raise ValueError(
                "AUTH_LDAP_BIND_DN: set it, or AUTH_LDAP_BIND_TEMPLATE to search as the user."
                " Example: AUTH_LDAP_BIND_DN=cn=mcp,ou=services,dc=example,dc=com"
            )
        if self.ldap_bind_dn is not None and self.ldap_bind_template is not None:
            raise ValueError(
                "AUTH_LDAP_BIND_TEMPLATE: set it or AUTH_LDAP_BIND_DN, not both."
                " Example: AUTH_LDAP_BIND_TEMPLATE={name}@corp.example.com"
            )
        if self.ldap_bind_dn and not (self.ldap_bind_password or self.ldap_bind_password_file):
            raise ValueError(
                "AUTH_LDAP_BIND_PASSWORD: AUTH_LDAP_BIND_DN needs it: nothing is asked anonymously."
                " Example: AUTH_LDAP_BIND_PASSWORD_FILE=/run/secrets/ldap_bind_password"
            )
        for server in self.ldap_servers:
            url = urlsplit(server)
            if url.scheme != "ldaps" and not self.ldap_start_tls and url.hostname not in LOOPBACK_HOSTS:
                raise ValueError(
                    f"AUTH_LDAP_START_TLS: without it, passwords would go to {url.hostname} in clear."
                    " Example: AUTH_LDAP_START_TLS=true"
                )
        return self

    def ldap_password(self) -> str:
        """Return the password of the service account; raises SettingsError."""
        if self.ldap_bind_password is not None:
            return self.ldap_bind_password.get_secret_value()
        file = self.ldap_bind_password_file
        try:
            password = file.read_text(encoding="utf-8").rstrip("\r\n") if file else ""
        except (OSError, UnicodeDecodeError):
            password = ""
        if not password:
            raise SettingsError(
                "AUTH_LDAP_BIND_PASSWORD_FILE: no password can be read from it."
                " Example: AUTH_LDAP_BIND_PASSWORD_FILE=/run/secrets/ldap_bind_password"
            )
        return password
