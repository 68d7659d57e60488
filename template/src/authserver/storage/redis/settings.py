"""What can be set of this storage."""

from typing import Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from authserver.settings import CoreSettings, ProjectPath, check_files
from authserver.storage.redis.address import parse_address


class Settings(CoreSettings):
    """Where the server is, and how safe what it keeps must be."""

    storage_url: SecretStr = Field(default=..., examples=["redis://127.0.0.1:6379/0"])
    """Redis 6.2 or newer, or Valkey; no cluster. Special characters of the password are percent-encoded.
    rediss://NAME:PASSWORD@HOST:PORT/0 for TLS, unix:///run/redis.sock?db=0 for a socket; options:
    prefix=NAME: where several projects share a database, ssl_ca_certs=FILE and redis-py's other ssl_ ones.
    Either the address or a file with it.
    """

    storage_url_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/storage_url"])

    storage_durability: Literal["demand", "accept-loss"] = Field(default="demand", examples=["demand"])
    """Whether the server must lose nothing it has answered (appendonly yes, appendfsync always): demand, or
    accept-loss, after which a crash may end logins and bring back what was revoked.
    """

    storage_replicas: int = Field(default=0, ge=0, le=100, examples=["1"])
    """How many replicas must have each change before it is answered. Without, a failover may lose some."""

    @field_validator("storage_url")
    @classmethod
    def _storage_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        parse_address(url)
        check_files(parse_qs(urlsplit(url).query), "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        return value
