"""One request, one round trip, one transaction, one identity: only here is a user named to PostgreSQL."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from psycopg.errors import UniqueViolation

from app.postgres.connection import (
    Connection,
    ConnectionLost,
    Result,
    Row,
    StalePreparedStatement,
    Value,
    rows,
)
from app.postgres.deadline import Client, Deadline
from app.postgres.pool import Pool
from app.settings import Settings

POOL_TIMEOUT = 3  # seconds a request waits for a connection
RECONNECT_TIMEOUT = 2  # seconds after which the pool begins its attempts anew: they come ever more rarely
CONNECT_TIMEOUT = 3  # seconds until a server that does not answer counts as away

# Transaction-local, so that both end with the transaction (PostgreSQL, 9.28.1).
ACT_AS = "select set_config('app.user_id', %(user_id)s, true)"
READ_AS = (
    "select set_config('app.user_id', %(user_id)s, true), set_config('transaction_read_only', 'on', true)"
)


class Database:
    """A pool of connections as tasks_api."""

    def __init__(self, settings: Settings) -> None:
        self.conninfo = settings.database_url.get_secret_value()
        self.options: dict[str, Any] = {
            "autocommit": True,
            "application_name": "tasks api",
            "connect_timeout": CONNECT_TIMEOUT,
            "prepare_threshold": 1 if settings.prepared_statements else None,
        }
        self.pool = Pool(
            self.conninfo,
            connection_class=Connection,
            kwargs=self.options,
            min_size=1,
            max_size=settings.pool_size,
            queue=settings.pool_queue,
            timeout=POOL_TIMEOUT,
            # Left alone it tries ever more rarely, and gives up in the end.
            reconnect_timeout=RECONNECT_TIMEOUT,
            reconnect_failed=Pool.check,
            open=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool, after one connection of its own has shown that there is a database."""
        await (await self.connect()).close()
        await self.pool.open(wait=True, timeout=POOL_TIMEOUT)  # or the first request would have it grow
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    async def connect(self) -> Connection:
        """Make a connection beside the pool."""
        return await Connection.connect(self.conninfo, **self.options)

    async def run(
        self, identity: str, statement: str, values: Mapping[str, Value], client: Client | None = None
    ) -> Result:
        """Run a statement as the user in `values`, in a round trip and a transaction of its own.

        Where a prepared statement is outdated, it is tried once more; where the connection breaks, a read is,
        and a write only if it provably never began.
        """
        with Deadline(client or Client()):
            try:
                return await self._run(identity, statement, values)
            except StalePreparedStatement:
                pass
            except ConnectionLost as lost:
                if lost.started and identity != READ_AS:
                    raise
            return await self._run(identity, statement, values)

    async def _run(self, identity: str, statement: str, values: Mapping[str, Value]) -> Result:
        while True:
            # Not pool.connection(), whose commit would cost as much again and has nothing to do.
            connection = await self.pool.getconn()
            try:
                if not connection.has_input():
                    return await connection.execute_pipeline((identity, statement), values)
                await connection.close()  # as the server did meanwhile; the pool makes another
            finally:
                await self.pool.putconn(connection)


class Session(NamedTuple):
    """Acts for one user."""

    database: Database
    user: str
    client: Client | None

    @property
    def path(self) -> str:
        """The path of this user's tasks."""
        return f"/api/{quote(self.user, safe='')}/tasks"

    async def read(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that changes nothing."""
        return await self._run(READ_AS, statement, values)

    async def write(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that may change this user's rows."""
        return await self._run(ACT_AS, statement, values)

    async def write_again(self, statement: str, **values: Value) -> list[Row]:
        """Do so, and once more where a concurrent request was first with a unique key: now it is visible."""
        try:
            return await self.write(statement, **values)
        except UniqueViolation:
            return await self.write(statement, **values)

    async def _run(self, identity: str, statement: str, values: Mapping[str, Value]) -> list[Row]:
        return rows(
            await self.database.run(identity, statement, {"user_id": self.user, **values}, self.client)
        )
