"""What every engine raises."""

from authserver.errors import OperatorError


class StorageUnavailable(OperatorError):
    """The engine cannot answer now. Nothing was lost; the caller may try again (HTTP 503)."""


class StorageLost(StorageUnavailable):
    """The store is not the one that this process began with: it would go on as if it were new."""

    def __init__(self) -> None:
        super().__init__(
            "the store was emptied, replaced, or lost its check value under the server: nothing is issued."
            " Restore the latest backup (restore FILE) and start every node again; if it is meant to be"
            " empty, only start every node again"
        )


class NotEmpty(Exception):
    """A backup is restored only into a store that holds no record but facts."""
