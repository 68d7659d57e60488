"""Where the database lies."""

from pathlib import Path

from pydantic import Field, field_validator

from authserver.folders import FOLDERS
from authserver.settings import CoreSettings, ProjectPath


class Settings(CoreSettings):
    """The folder that holds the database and, where none is set, the secret key."""

    data_dir: ProjectPath = Field(
        default=Path("data"), validate_default=True, examples=["/var/lib/my-server"]
    )
    """Where the server keeps its data: on a local disk, in a folder that only its user can read; a relative
    one lies in the project's folder. Where no secret key is set, the first start makes one in this folder.
    """

    @field_validator("data_dir")
    @classmethod
    def _apart_from_the_code(cls, value: Path) -> Path:
        try:
            folder, checkout = value.resolve(), (value / ".git").exists()
        except OSError as error:
            raise ValueError(f"the folder cannot be used ({error.strerror})") from None
        if folder in (FOLDERS.project, folder.parent) or checkout:
            raise ValueError("the data would lie among the files of a project: a folder of its own is needed")
        if folder.is_relative_to(FOLDERS.source):
            raise ValueError("the data would lie among the code, which is replaced: another folder is needed")
        return value

    @property
    def made_key_path(self) -> Path:
        """The key lies beside the database."""
        return self.data_dir / "secret.key"
