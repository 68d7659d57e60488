"""What every engine raises."""

from authserver.errors import OperatorError


class StorageUnavailable(OperatorError):
    """The engine cannot answer now. Nothing was lost; the caller may try again (HTTP 503)."""


class NotEmpty(Exception):
    """A backup is restored only into a store that holds no record but facts."""
