"""What one process of the server works with: opened once, after a fork, never on import."""

from dataclasses import dataclass

from authserver import choices
from authserver.configuration import Settings
from authserver.keys import Keys, load_keys
from authserver.storage import Storage
from authserver.tokens import TokenFormat


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings, storage, token format and keys."""

    settings: Settings
    storage: Storage
    tokens: TokenFormat
    keys: Keys


async def open_runtime(settings: Settings) -> Runtime:
    """Open the storage and load the keys; raises SettingsError or StorageUnavailable."""
    storage: Storage = choices.storage.create(settings)
    await storage.open()
    try:
        return Runtime(
            settings=settings,
            storage=storage,
            tokens=choices.tokens.create(settings, storage),
            keys=await load_keys(settings, storage),
        )
    except BaseException:
        await storage.close()
        raise
