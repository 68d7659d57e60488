"""The authorization server, put together: the ten methods, the three choices, the routes."""

from functools import cached_property

from pydantic import AnyHttpUrl
from starlette.middleware import Middleware
from starlette.routing import Route

from authserver import choices, routes
from authserver.all_settings import Settings, load_settings
from authserver.crypto.keys import load_keys
from authserver.login import Login
from authserver.model.scopes import Scope, Scopes
from authserver.provider import Provider
from authserver.storage import Storage
from authserver.tokens import TokenFormat


class AuthorizationServer(Provider):
    """A FastMCP server's own OAuth 2.1 authorization server."""

    def __init__(
        self,
        scopes: list[Scope],
        settings: Settings | None = None,
        *,
        requires_by_default: str | None = None,
    ) -> None:
        """Define the scopes. Reads no setting and opens nothing; raises ValueError for unusable scopes.

        `settings` stands in for the environment. `requires_by_default` is the scope that every tool, resource
        and prompt needs that `@requires` says nothing of, wherever it comes from (None: none).
        """
        known = Scopes(scopes)
        if requires_by_default is not None and requires_by_default not in known.names:
            raise ValueError(f"requires_by_default: no Scope defines {requires_by_default!r}")
        super().__init__(known, () if requires_by_default is None else (requires_by_default,))
        self._settings = settings

    @property
    def settings(self) -> Settings:
        """The settings of this process; raises SettingsError."""
        return self._settings or load_settings()

    @cached_property
    def tokens(self) -> TokenFormat:
        """The format of access tokens; raises SettingsError."""
        return choices.tokens.create(self.settings)

    @cached_property
    def login(self) -> Login:
        """How people sign in; raises SettingsError."""
        return choices.login.create(self, self.settings)

    async def open(self) -> None:
        """Open storage, keys and tokens; the ASGI lifespan calls it once in each process, after a fork.

        Raises SettingsError or StorageUnavailable.
        """
        storage: Storage = choices.storage.create(self.settings)
        await storage.open()
        try:
            keys = await load_keys(self.settings, storage)
            self.tokens.open(storage, keys.seal)
        except BaseException:
            await storage.close()
            raise
        self._storage, self._keys = storage, keys

    async def close(self) -> None:
        """Close the storage."""
        storage, self._storage, self._keys = self._storage, None, None
        if storage is not None:
            await self.tokens.close()
            await storage.close()

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        """Return all routes of the authorization server; raises SettingsError."""
        self.base_url = AnyHttpUrl(self.issuer)
        self.set_mcp_path(mcp_path)
        return routes.create(self)

    def get_middleware(self) -> list[Middleware]:
        """Return all that stands before the routes, whatever ASGI server runs them."""
        return routes.middleware(self)
