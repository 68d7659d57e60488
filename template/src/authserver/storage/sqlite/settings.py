"""Where the database lies."""

from pathlib import Path

from pydantic import Field

from authserver.settings import CoreSettings


class Settings(CoreSettings):
    """The folder that holds the database and, where none is set, the secret key."""

    data_dir: Path = Field(default=Path("data"), examples=["/var/lib/my-server"])
    """Where the server keeps its data: on a local disk, in a folder that only its user can read.
    Where no secret key is set, the first start makes one in this folder.
    """

    @property
    def made_key_path(self) -> Path:
        """The key lies beside the database."""
        return self.data_dir / "secret.key"
