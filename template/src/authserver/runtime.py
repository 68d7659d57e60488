"""What one process of the server works with: opened once, after a fork, never on import."""

from dataclasses import dataclass

from authserver import choices
from authserver.configuration import Settings
from authserver.keys import Keys, load_keys
from authserver.storage import Storage
from authserver.tokens import TokenFormat


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings, storage and keys."""

    settings: Settings
    storage: Storage
    keys: Keys


async def open_runtime(settings: Settings, tokens: TokenFormat) -> Runtime:
    """Open storage, keys and tokens; raises SettingsError or StorageUnavailable."""
    storage: Storage = choices.storage.create(settings)
    await storage.open()
    try:
        keys = await load_keys(settings, storage)
        tokens.open(storage, keys.seal)
    except BaseException:
        await storage.close()
        raise
    return Runtime(settings=settings, storage=storage, keys=keys)
