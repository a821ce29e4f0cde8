"""One request, one round trip, one transaction, one identity: only here is a user named to PostgreSQL."""

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ReadOnlySqlTransaction, UniqueViolation

from app.postgres import session
from app.postgres.connection import Connection, ConnectionLost, Row, StalePreparedStatement, Value
from app.postgres.deadline import Client, Deadline
from app.postgres.pool import Pool
from app.settings import Settings

POOL_TIMEOUT = 3  # seconds a request waits for a connection to be made
RECONNECT_TIMEOUT = 0.5  # seconds after which the pool starts its attempts over: their pauses double
CONNECT_TIMEOUT = 3  # seconds until a server that does not answer counts as away
# What libpq is asked for unless DATABASE_URL says otherwise (PostgreSQL, 32.1.2).
DEFAULTS = {
    # Not a standby: its rows are old, and an address may lead to one for a while during a switchover.
    "target_session_attrs": "primary",
    # A server whose packets vanish is noticed after five seconds: while it is asked, and while it works.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}

# Transaction-local, so that all of them end with the transaction (PostgreSQL, 9.28.1).
ACT_AS = "select pg_catalog.set_config('app.user_id', %(user_id)s, true)"
# A page takes 1 ms, 100,000 tasks searched or sorted 0.1 s; callers wait 2 s for a connection at most.
READ_AS = """
select pg_catalog.set_config('app.user_id', %(user_id)s, true),
  pg_catalog.set_config('transaction_read_only', 'on', true),
  pg_catalog.set_config('statement_timeout', '2s', true)
"""

# Where sql/citus.sql made this function, only `set local` in a transaction block reaches the other servers.
SPREAD = "select 1 from pg_catalog.pg_proc where oid = pg_catalog.to_regprocedure('app.act_as(text)')"
CITUS = "select 1 from pg_catalog.pg_extension where extname = 'citus'"
SET = "select app.act_as(%(user_id)s)"
IMPLICIT: dict[str, tuple[str, ...]] = {ACT_AS: (ACT_AS,), READ_AS: (READ_AS,)}
EXPLICIT: dict[str, tuple[str, ...]] = {
    ACT_AS: ("begin", SET),
    READ_AS: ("begin read only", SET + ", pg_catalog.set_config('statement_timeout', '2s', true)"),
}


class Database:
    """A pool of connections as tasks_api."""

    def __init__(self, settings: Settings) -> None:
        session.ask()
        self.conninfo = settings.database_url.get_secret_value()
        given = conninfo_to_dict(self.conninfo)
        self.options: dict[str, Any] = {name: DEFAULTS[name] for name in DEFAULTS.keys() - given} | {
            "autocommit": True,
            "application_name": "tasks api",
            "client_encoding": "utf8",  # whatever DATABASE_URL and PGCLIENTENCODING say
            "connect_timeout": CONNECT_TIMEOUT,
            "prepare_threshold": 1 if settings.prepared_statements else None,
        }
        self.pool = Pool(
            self.conninfo,
            connection_class=Connection,
            kwargs=self.options,
            min_size=1,
            max_size=settings.pool_size,
            timeout=POOL_TIMEOUT,
            # Else its attempts become rarer and rarer, and it gives up in the end.
            reconnect_timeout=RECONNECT_TIMEOUT,
            reconnect_failed=Pool.check,
            open=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool, after one connection of its own has shown that there is a database."""
        async with await self.connect() as connection:
            self.spread = (await connection.execute(SPREAD)).rowcount > 0
            self.on_citus = (await connection.execute(CITUS)).rowcount > 0
        self.identities = EXPLICIT if self.spread else IMPLICIT
        await self.pool.open(wait=True, timeout=POOL_TIMEOUT)  # or the first request would have it grow
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    async def connect(self) -> Connection:
        """Make a connection beside the pool."""
        return await Connection.connect(self.conninfo, **self.options)

    async def run(
        self, identity: str, statement: str, values: Mapping[str, Value], client: Client | None = None
    ) -> list[Row]:
        """Run a statement as the user in `values`, in a round trip and a transaction of its own.

        Where the connection breaks, a read is tried once more, and a write only if it provably never began.
        """
        user, statements = str(values["user_id"]), (identity, statement)
        with Deadline(client or Client()):
            try:
                return await self._try(user, statements, values)
            except ConnectionLost as lost:
                if lost.started and identity != READ_AS:
                    raise
            return await self._try(user, statements, values)

    async def probe(self, statements: Sequence[str], values: Mapping[str, Value]) -> list[Row]:
        """Run statements that change nothing, and wait for no user's."""
        with Deadline(Client()):
            try:
                return await self._try(None, (READ_AS, *statements), values)
            except ConnectionLost:
                return await self._try(None, (READ_AS, *statements), values)

    async def _try(
        self, user: str | None, statements: Sequence[str], values: Mapping[str, Value]
    ) -> list[Row]:
        while True:
            # Not pool.connection(), whose commit would cost as much again and has nothing to do.
            connection = await self.pool.take(user)
            try:
                if not connection.has_input():
                    return await self.execute(connection, statements, values)
                await connection.close()  # as the server did meanwhile; the pool makes another
            except StalePreparedStatement:  # as those on other connections may be: once more on this one
                return await self.execute(connection, statements, values)
            except (ReadOnlySqlTransaction, ConnectionLost, CancelledError) as error:
                # Of a standby, or silent, or the statement could not be cancelled: so may the others be.
                if isinstance(error, ReadOnlySqlTransaction) or connection.closed:
                    self.pool.renew()
                raise
            finally:
                await self.pool.give_back(user, connection)

    async def execute(
        self, connection: Connection, statements: Sequence[str], values: Mapping[str, Value]
    ) -> list[Row]:
        """Run them once, in a transaction of their own; the first is ACT_AS or READ_AS."""
        begun = (*self.identities[statements[0]], *statements[1:])
        return await connection.execute_pipeline(begun, values, commit=self.spread)


class Session(NamedTuple):
    """Acts for one user."""

    database: Database
    user: str
    client: Client | None

    async def read(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that changes nothing."""
        return await self.database.run(READ_AS, statement, {"user_id": self.user, **values}, self.client)

    async def write(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement that may change this user's rows."""
        return await self.database.run(ACT_AS, statement, {"user_id": self.user, **values}, self.client)

    async def write_with_retry(self, statement: str, **values: Value) -> list[Row]:
        """Do so, and again where a concurrent request was first with a unique key: it is visible by then."""
        try:
            return await self.write(statement, **values)
        except UniqueViolation:
            return await self.write(statement, **values)
