"""Where the database is, and how it is connected to."""

import re
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from authserver.settings import CoreSettings, ProjectPath, check_files
from authserver.uris import check_authority

_SCHEMES = {"postgresql", "postgres"}

# More than a database of one server allows to all of its clients by far.
MAXIMUM_CONNECTIONS = 1000
_HOST = re.compile(r"([^:\[\]@]*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


class Settings(CoreSettings):
    """What can be set of this storage."""

    storage_url: SecretStr = Field(
        default=..., examples=["postgresql://name:password@db.example.com/authserver?sslmode=verify-full"]
    )
    """A database of the server's own, PostgreSQL 13 or newer. Special characters of the password are
    percent-encoded. sslmode=verify-full&sslrootcert=FILE lets nobody listen or answer in its place.
    Either the address or a file with it.
    """

    storage_url_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/storage_url"])

    storage_pooler: bool = Field(default=False, examples=["true"])
    """Whether a pooler such as PgBouncer stands between, in transaction mode."""

    storage_connections: int = Field(default=10, gt=0, le=MAXIMUM_CONNECTIONS, examples=["10"])
    """How many connections each process may hold."""

    @field_validator("storage_url")
    @classmethod
    def _storage_url(cls, value: SecretStr) -> SecretStr:
        url = urlsplit(value.get_secret_value())
        hosts = url.netloc.rpartition("@")[2].split(",")
        named = len(url.path) > 1 or "dbname" in parse_qs(url.query)
        stray = "@" in url.path or "@" in url.netloc.rpartition("@")[0] or url.fragment
        if url.scheme not in _SCHEMES or not named or stray or not all(map(_HOST.fullmatch, hosts)):
            raise ValueError(
                "it must name a host and a database, and special characters of the password must be"
                " percent-encoded (@ as %40)"
            )
        for host in filter(None, hosts):
            check_authority(urlsplit(f"//{host}"))
        check_files(parse_qs(url.query), "sslrootcert", "sslcert", "sslkey", "sslcrl")
        return value
