"""One request, one round trip, one transaction, one identity: only here is a user named to PostgreSQL."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import InvalidSchemaName, UndefinedFunction, UniqueViolation
from psycopg_pool import AsyncConnectionPool

from app.connection import Connection, Lost, Row, Value, configure
from app.settings import Settings

SCHEMA_VERSION = 5  # the newest migration this code needs
POOL_TIMEOUT = 3  # seconds a request waits for a connection
TIME_LIMIT = 8  # seconds it waits for an answer: the role's own limit is shorter, but a network may hang
RECONNECT_TIMEOUT = 2  # seconds after which the pool begins its attempts anew: they come ever more rarely

# Transaction-local, so that both end with the transaction (PostgreSQL, 9.28.1).
ACT_AS = "select set_config('app.user_id', %(user_id)s, true)"
READ_AS = (
    "select set_config('app.user_id', %(user_id)s, true), set_config('transaction_read_only', 'on', true)"
)

CHECK = """
select app.schema_version(), current_user, app.current_user_id(), (
  select string_agg(oid::regclass::text, ', ' order by oid)
  from pg_class
  where relkind in ('r', 'p', 'f', 'm')
    and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and (has_any_column_privilege(oid, 'select, insert, update, references')
      or has_table_privilege(oid, 'delete, truncate, trigger'))
    and not row_security_active(oid)
    and not exists (  -- what an extension brings along holds no user's rows
      select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
    )
)
"""


class Unready(Exception):
    """Why the database is not what this code needs, and what to do."""


class Database:
    """A pool of connections as tasks_api."""

    def __init__(self, settings: Settings) -> None:
        self.conninfo = settings.database_url.get_secret_value()
        self.options: dict[str, Any] = {
            "autocommit": True,
            "application_name": "tasks api",
            "connect_timeout": 5,
            "prepare_threshold": 1 if settings.prepared_statements else None,
        }
        self.pool = AsyncConnectionPool(
            self.conninfo,
            connection_class=Connection,
            kwargs=self.options,
            min_size=1,
            max_size=settings.pool_size,
            max_waiting=settings.pool_queue,
            timeout=POOL_TIMEOUT,
            # Left alone it gives up in the end; and a queue full of requests that went away keeps it
            # from ever trying again.
            reconnect_timeout=RECONNECT_TIMEOUT,
            reconnect_failed=AsyncConnectionPool.check,
            configure=configure,
            open=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool; raise Unready where the database is away or unsafe."""
        try:
            await (await AsyncConnection.connect(self.conninfo, **self.options)).close()
        except OperationalError as error:
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

    async def run(self, identity: str, statement: str, values: Mapping[str, Value]) -> list[Row]:
        """Run a statement as the user in `values`, in a round trip and a transaction of its own.

        Where the connection breaks, a read is tried once more; a write only if it provably never began.
        """
        try:
            return await self._run(identity, statement, values)
        except Lost as lost:
            if lost.began and identity != READ_AS:
                raise
        return await self._run(identity, statement, values)

    async def _run(self, identity: str, statement: str, values: Mapping[str, Value]) -> list[Row]:
        while True:
            async with self.pool.connection() as connection:
                if not connection.stale():
                    run = connection.run((identity, statement), values)
                    return await connection.wait(run, timeout=TIME_LIMIT)
                await connection.close()  # and the pool makes another

    async def check(self) -> None:
        """Raise Unready unless the migrations are there and row security holds for this very connection."""
        try:
            ((version, role, user, exposed),) = await self.run(READ_AS, CHECK, {"user_id": "somebody"})
        except (InvalidSchemaName, UndefinedFunction):
            version, role, user, exposed = b"0", b"tasks_api", b"somebody", None
        if role != b"tasks_api":
            raise Unready(
                f"The role {role.decode()} is not tasks_api: put tasks_api and its password in DATABASE_URL"
            )
        if int(version) < SCHEMA_VERSION:
            known = f"The database is at migration {int(version)}"
            raise Unready(f"{known}, this code needs {SCHEMA_VERSION}: run make migrate")
        if user != b"somebody":
            raise Unready("The identity does not reach the statement: the pooler takes a pipeline apart")
        if exposed:
            raise Unready(
                f"Row security is not active for tasks_api on {exposed.decode()}: enable and force it"
            )


class Session(NamedTuple):
    """Acts for one user."""

    database: Database
    user: str

    @property
    def path(self) -> str:
        """The path of this user's tasks."""
        return f"/api/{quote(self.user, safe='')}/tasks"

    async def read(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that changes nothing."""
        return await self.database.run(READ_AS, statement, {"user_id": self.user, **values})

    async def write(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that may change this user's rows."""
        return await self.database.run(ACT_AS, statement, {"user_id": self.user, **values})

    async def write_again(self, statement: str, **values: Value) -> list[Row]:
        """Do so, and once more where a concurrent request was first with a unique key: now it is visible."""
        try:
            return await self.write(statement, **values)
        except UniqueViolation:
            return await self.write(statement, **values)
