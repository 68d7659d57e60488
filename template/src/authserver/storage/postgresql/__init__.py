"""Storage in a PostgreSQL database, for any number of nodes.

Each operation is one statement or one function (`functions/*.sql`): one round trip, one transaction, on the
database's clock.
"""

from authserver.storage.facts import identify
from authserver.storage.postgresql.clients import PostgreSQLClients
from authserver.storage.postgresql.connections import Connections
from authserver.storage.postgresql.doctor import checks
from authserver.storage.postgresql.facts import PostgreSQLFacts
from authserver.storage.postgresql.grants import PostgreSQLGrants
from authserver.storage.postgresql.settings import Settings
from authserver.storage.postgresql.sign_ins import PostgreSQLSignIns
from authserver.storage.postgresql.upkeep import Upkeep
from authserver.storage.postgresql.users import PostgreSQLUsers

__all__ = ["Settings", "checks", "create"]


def create(settings: Settings) -> "PostgreSQLStorage":
    """Return the storage for these settings; nothing is opened yet."""
    connections = Connections(
        settings.storage_url.get_secret_value(),
        size=settings.storage_connections,
        pooled=settings.storage_pooler,
    )
    return PostgreSQLStorage(connections)


class PostgreSQLStorage(Upkeep):
    """The store in one database."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(
            facts=PostgreSQLFacts(connections),
            clients=PostgreSQLClients(connections),
            users=PostgreSQLUsers(connections),
            sign_ins=PostgreSQLSignIns(connections),
            grants=PostgreSQLGrants(connections),
        )
        self._connections = connections

    async def open(self) -> None:
        """Look at the server, bring the schema up to date, open the pool: see `Connections.open`."""
        await self._connections.open()

    async def close(self) -> None:
        await self._connections.close()

    async def pin(self) -> None:
        self._connections.pin(await identify(self.facts))

    async def ping(self) -> None:
        """Write a fact: a full disk or a standby shows."""
        await self._connections.run(
            """
            INSERT INTO authserver.facts (name, value)
            VALUES ('ping', convert_to(clock_timestamp()::text, 'UTF8'))
            ON CONFLICT (name) DO UPDATE SET value = excluded.value
            """,
            repeatable=True,
        )

    async def now(self) -> float:
        [[now]] = await self._connections.run(
            "SELECT extract(epoch FROM clock_timestamp())::float8", repeatable=True
        )
        return float(now)
