"""One request, one round trip, one transaction, one identity: only here is a user named to PostgreSQL."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import InvalidSchemaName, UndefinedFunction, UniqueViolation
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import ByteaBinaryLoader
from psycopg_pool import AsyncConnectionPool

from app.settings import Settings

Row = tuple[Any, ...]

SCHEMA_VERSION = 5  # the newest migration this code needs
POOL_TIMEOUT = 3  # seconds a request waits for a connection

# Transaction-local, so that both end with the transaction (PostgreSQL, 9.28.1).
ACT_AS = "select set_config('app.user_id', %s, true)"
READ_AS = "select set_config('app.user_id', %s, true), set_config('transaction_read_only', 'on', true)"

CHECK = """
select app.schema_version(), current_user::text, app.current_user_id(), (
  select string_agg(oid::regclass::text, ', ' order by oid)
  from pg_class
  where relkind in ('r', 'p', 'f', 'm')
    and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and (has_any_column_privilege(oid, 'select, insert, update, references')
      or has_table_privilege(oid, 'delete, truncate, trigger'))
    and not row_security_active(oid)
)
"""


class Unready(Exception):  # noqa: N818 - a state, not a defect
    """Why the database is not what this code needs, and what to do."""


class Database:
    """A pool of connections as tasks_api."""

    def __init__(self, settings: Settings) -> None:
        self.conninfo = settings.database_url.get_secret_value()
        self.options: dict[str, Any] = {
            "autocommit": True,
            "application_name": "tasks api",
            "connect_timeout": 5,
            "prepare_threshold": 2 if settings.prepared_statements else None,
        }
        self.pool = AsyncConnectionPool(
            self.conninfo,
            kwargs=self.options,
            min_size=1,
            max_size=settings.pool_size,
            max_waiting=settings.pool_queue,
            timeout=POOL_TIMEOUT,
            # Left alone it waits twice as long after each failure, then gives up; and a queue full of
            # requests that went away keeps it from ever trying again.
            reconnect_timeout=POOL_TIMEOUT,
            reconnect_failed=AsyncConnectionPool.check,
            configure=_configure,
            open=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool; raise Unready where the database is away or unsafe."""
        try:
            await (await AsyncConnection.connect(self.conninfo, **self.options)).close()
        except psycopg.OperationalError as error:
            raise Unready(f"DATABASE_URL: {' '.join(str(error).split())}") from None
        await self.pool.open()
        try:
            await self.check()
        except BaseException:
            await self.pool.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    async def run(
        self, identity: str, user: str, statement: str, parameters: Mapping[str, Any] | None
    ) -> list[Row]:
        """Run a statement as the user, in a transaction and a round trip of its own.

        On an autocommit connection a pipeline is one implicit transaction up to its end
        (PostgreSQL, 55.2.4): both statements are kept, or neither.
        """
        async with self.pool.connection() as connection:
            async with connection.pipeline():
                await connection.execute(identity, (user,))
                cursor = await connection.execute(statement, parameters, binary=True)
            return await cursor.fetchall()  # inside the pipeline it would cost another round trip

    async def check(self) -> None:
        """Raise Unready unless the migrations are there and row security holds for this very connection."""
        try:
            ((version, role, user, exposed),) = await self.run(READ_AS, "somebody", CHECK, None)
        except (InvalidSchemaName, UndefinedFunction):
            version, role, user, exposed = 0, "tasks_api", "somebody", None
        if role != "tasks_api":
            raise Unready(f"The role {role} is not tasks_api: put tasks_api and its password in DATABASE_URL")
        if version < SCHEMA_VERSION:
            raise Unready(
                f"The database is at migration {version}, this code needs {SCHEMA_VERSION}: run make migrate"
            )
        if user != "somebody":
            raise Unready(
                "The user does not reach the statement: the pooler must keep a pipeline on one connection"
            )
        if exposed:
            raise Unready(f"Row security is not active for tasks_api on {exposed}: enable and force it")


class Session(NamedTuple):
    """Acts for one user."""

    database: Database
    user: str

    async def read(self, statement: str, **parameters: object) -> list[Row]:
        """Run a statement that changes nothing."""
        return await self.database.run(READ_AS, self.user, statement, {"user_id": self.user, **parameters})

    @property
    def path(self) -> str:
        """The path of this user's tasks."""
        return f"/api/{quote(self.user, safe='')}/tasks"

    async def write(self, statement: str, **parameters: object) -> list[Row]:
        """Run a statement that may change this user's rows."""
        return await self.database.run(ACT_AS, self.user, statement, {"user_id": self.user, **parameters})

    async def write_again(self, statement: str, **parameters: object) -> list[Row]:
        """Do so, and once more where a concurrent request was first with a unique key: now it is visible."""
        try:
            return await self.write(statement, **parameters)
        except UniqueViolation:
            return await self.write(statement, **parameters)


async def _configure(connection: AsyncConnection[Row]) -> None:
    """Hand json through as bytes; send any int as a bigint, so that a statement is prepared only once."""
    connection.adapters.register_loader("json", ByteaBinaryLoader)
    connection.adapters.register_dumper(int, Int8BinaryDumper)
