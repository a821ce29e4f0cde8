"""Runs statements as a user. A request takes one round trip and one transaction.

Only this module sets app.user_id for requests. set_config(…, true) and the statement of the request are sent
in one pipeline, which is one transaction. The setting ends with the transaction, so no other request on the
connection can see it.
"""

import os
from asyncio import CancelledError
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, Self

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ReadOnlySqlTransaction, UniqueViolation
from psycopg.pq import Conninfo

from app.postgres import NotReady, session_settings
from app.postgres.citus import CITUS, DISTRIBUTED, WORKER, WORKERS_AGE
from app.postgres.connection import Connection, ConnectionLost, Row, StalePreparedStatement, Value
from app.postgres.deadline import Client
from app.postgres.pool import Pool, reason_and_remedy
from app.settings import Settings

POOL_TIMEOUT = 3  # seconds that a request waits for a new connection
RECONNECT_TIMEOUT = 0.5  # seconds; then psycopg's pool starts again with its shortest pause between attempts
CONNECT_TIMEOUT = 3  # seconds for an attempt to connect
# Not a standby, whose rows are old. During a switchover a host name may lead to one for a while.
TARGET_SESSION_ATTRS = "primary"
# Connection parameters that DATABASE_URL or a service file may override (PostgreSQL, 32.1.2).
DEFAULTS = {
    # A broken network is noticed after five seconds, while a request is sent and while its result is awaited.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}

# `true` makes the settings local to the transaction (PostgreSQL, 9.28.1).
ACT_AS = "select pg_catalog.set_config('app.user_id', %(user_id)s, true)"
# A page takes 1 ms, a search or sort of 100,000 tasks 0.1 s. Reads are limited to 2 s, the time that others
# may have to wait for a connection (MAX_WAIT in fair_queue.py).
READ_AS = """
select pg_catalog.set_config('app.user_id', %(user_id)s, true),
  pg_catalog.set_config('transaction_read_only', 'on', true),
  pg_catalog.set_config('statement_timeout', '2s', true)
"""

# What is sent for ACT_AS and READ_AS: the statement itself, in the implicit transaction of a pipeline. On
# Citus, app.act_as sets the user instead, in an explicit transaction; otherwise the setting would not reach
# the workers.
SET = "select app.act_as(%(user_id)s)"
IMPLICIT: dict[str, tuple[str, ...]] = {ACT_AS: (ACT_AS,), READ_AS: (READ_AS,)}
EXPLICIT: dict[str, tuple[str, ...]] = {
    ACT_AS: ("begin", SET),
    READ_AS: ("begin read only", SET + ", pg_catalog.set_config('statement_timeout', '2s', true)"),
}


def _defaults(conninfo: str) -> dict[str, int]:
    """Return the DEFAULTS of the parameters that neither the connection string nor a service file sets.

    The default of target_session_attrs is set in the environment, which libpq reads last.
    """
    os.environ["PGTARGETSESSIONATTRS"] = os.environ.get("PGTARGETSESSIONATTRS") or TARGET_SESSION_ATTRS
    given = conninfo_to_dict(conninfo)
    if "service" in given:
        os.environ["PGSERVICE"] = str(given["service"])  # whose parameters get_defaults() then returns
    in_service = {option.keyword.decode() for option in Conninfo.get_defaults() if option.val is not None}
    return {name: value for name, value in DEFAULTS.items() if name not in given and name not in in_service}


class Database:
    """A pool of connections as the role tasks_api."""

    def __init__(self, settings: Settings) -> None:
        session_settings.set_environment()
        self.conninfo = settings.database_url.get_secret_value()
        self.options: dict[str, Any] = _defaults(self.conninfo) | {
            "autocommit": True,
            "application_name": "tasks api",
            "client_encoding": "utf8",  # overrides DATABASE_URL and PGCLIENTENCODING
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
            # Without these two the pauses between attempts grow, and in the end the pool gives up.
            reconnect_timeout=RECONNECT_TIMEOUT,
            reconnect_failed=Pool.check,
            open=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool. Open a separate connection first, since its error gives the reason for a failure."""
        connection: Connection | None = None
        try:
            async with await self.connect() as connection:
                self.distributed = (await connection.execute(DISTRIBUTED)).rowcount > 0
                self.on_citus = (await connection.execute(CITUS)).rowcount > 0
        except Error as error:
            reason = await session_settings.explain(error, self.connect)
            if reason is error and not connection:
                reason = NotReady(f"DATABASE_URL: {reason_and_remedy(error)}")
            raise reason from None
        self.unaudited: list[str] | None = None if self.on_citus else []  # workers to audit; None means all
        self.identities = EXPLICIT if self.distributed else IMPLICIT
        self.workers: dict[str, int | None] = {}  # the workers of users
        self.workers_until = 0.0
        # Without wait=True the first request would have to wait until the pool has opened a connection.
        await self.pool.open(wait=True, timeout=POOL_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    async def connect(self, **options: str) -> Connection:
        """Open a connection that does not belong to the pool."""
        return await Connection.connect(self.conninfo, **self.options | options)

    def run(
        self, identity: str, statement: str, values: Mapping[str, Value], client: Client | None = None
    ) -> Coroutine[Any, Any, list[Row]]:
        """Run a statement as the user in `values`, in one round trip and one transaction; return its rows.

        `identity` is ACT_AS or READ_AS. If the connection breaks, a read is retried once. A write is retried
        only if the server refused it before it executed anything.
        """
        return self._run(str(values["user_id"]), (identity, statement), values, client)

    def probe(self, statements: Sequence[str], values: Mapping[str, Value]) -> Coroutine[Any, Any, list[Row]]:
        """Run read-only statements for a check, without waiting in the users' queue."""
        return self._run(None, (READ_AS, *statements), values)

    async def _worker(self, user: str) -> int | None:
        """Return the worker that has the user's rows. The queue limits the requests of each worker."""
        now = monotonic()
        if now > self.workers_until:
            self.workers, self.workers_until = {}, now + WORKERS_AGE
        if user not in self.workers:
            rows = await self.probe([WORKER], {"user_id": user})
            self.workers[user] = rows[0][0] if rows else None
        return self.workers[user]

    async def _run(
        self,
        user: str | None,
        statements: Sequence[str],
        values: Mapping[str, Value],
        client: Client | None = None,
    ) -> list[Row]:
        server = await self._worker(user) if self.on_citus and user is not None else None
        lost, writes = False, statements[0] != READ_AS
        with client or Client():  # limits the time
            while True:
                # pool.connection() would add a commit, which has no effect here and doubles the cost.
                connection = await self.pool.take(user, server)
                try:
                    if not connection.has_input():
                        try:
                            return await self.execute(connection, statements, values)
                        except StalePreparedStatement:  # retried on this one, since others may be stale, too
                            return await self.execute(connection, statements, values)
                    await connection.close()  # the server has closed it; the pool opens another
                except (ReadOnlySqlTransaction, ConnectionLost, CancelledError) as error:
                    # The server is a standby, or does not respond, or a statement could not be cancelled. The
                    # other connections may have the same problem.
                    if isinstance(error, ReadOnlySqlTransaction) or connection.closed:
                        self.pool.renew()
                    is_safe = isinstance(error, ConnectionLost) and not (error.started and writes)
                    if lost or not is_safe:
                        raise
                    lost = True
                finally:
                    await self.pool.give_back(user, connection)

    def execute(
        self, connection: Connection, statements: Sequence[str], values: Mapping[str, Value]
    ) -> Awaitable[list[Row]]:
        """Run statements in one transaction. The first one must be ACT_AS or READ_AS."""
        begun = (*self.identities[statements[0]], *statements[1:])
        return connection.execute_pipeline(begun, values, commit=self.distributed)


class Session(NamedTuple):
    """Runs statements as one user."""

    database: Database
    user: str
    client: Client | None

    def read(self, statement: str, **values: Value) -> Awaitable[list[Row]]:
        """Run a statement in a read-only transaction; return its rows."""
        return self.database.run(READ_AS, statement, {"user_id": self.user, **values}, self.client)

    def write(self, statement: str, **values: Value) -> Awaitable[list[Row]]:
        """Run a statement that may change rows of this user; return its rows."""
        return self.database.run(ACT_AS, statement, {"user_id": self.user, **values}, self.client)

    async def write_with_retry(self, statement: str, **values: Value) -> list[Row]:
        """Run a statement. If a concurrent request has inserted the same unique key, run it once more.

        The second run sees the row of the concurrent request.
        """
        try:
            return await self.write(statement, **values)
        except UniqueViolation:
            return await self.write(statement, **values)
