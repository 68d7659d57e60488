"""Where the server is, and how safe what it keeps must be."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from authserver.settings import CoreSettings
from authserver.storage.redis.address import parse_address


class Settings(CoreSettings):
    """What can be set of this storage."""

    storage_url: SecretStr = Field(default=..., examples=["redis://127.0.0.1:6379/0"])
    storage_durability: Literal["demand", "accept-loss"] = Field(default="demand", examples=["demand"])
    storage_replicas: int = Field(default=0, ge=0, examples=["1"])

    @field_validator("storage_url")
    @classmethod
    def _storage_url(cls, value: SecretStr) -> SecretStr:
        parse_address(value.get_secret_value())
        return value
