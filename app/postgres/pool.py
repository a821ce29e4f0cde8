"""The connection pool: psycopg_pool behind a fair queue.

psycopg_pool serves waiting callers in the order of arrival, so one user could get all connections, and
callers contend for its lock. Here requests wait in the fair queue instead.

A request is refused with NoConnection if no connection can be made, and with PoolTimeout if all connections
are busy for too long. On Citus it is refused with QueryCanceled if connections are free, but the users of its
worker already have as many as they may have together.
psycopg's pool tries to connect at least twice a second. While its attempts fail and no connection is open,
requests are refused immediately.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Coroutine
from time import monotonic
from typing import Any
from weakref import WeakSet

from psycopg import Error, errors
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.postgres.connection import REFUSED, UNREACHABLE, Connection, NoConnection, state_of_refusal
from app.postgres.fair_queue import FairQueue

KEPT = 1  # seconds for which a connection is passed from request to request without psycopg's pool
RENEWAL_PAUSE = 1  # seconds between two replacements of all connections; a new one starts a server process

# What to do if no connection can be made, by SQLSTATE.
REMEDIES = {
    REFUSED: "the server or its pooler refused the connection with this message",
    "28P01": "set it to the current password of tasks_api and restart, or extend the role's valid until; "
    "open connections are not affected; if there is no role tasks_api, run make migrate",
    "28000": "if there is no role tasks_api, run make migrate; let it log in: alter role tasks_api login, "
    "pg_hba.conf, sslmode=require or sslcert if needed",
    "53300": "lower POOL_SIZE or WEB_CONCURRENCY, or raise max_connections or the role's or database's limit",
    "57P03": "wait; if it lasts, read the server's log",
    "25P04": "reset transaction_timeout for the role, the database or the server",
    "25006": "the server is a standby: promote it, or set the host of the primary",
    "3D000": "create the database or set another one",
    "55000": "alter database … allow_connections true",
    "42501": "grant connect on database … to tasks_api",
}
REMEDY = "start the server, or correct the host and port"
# Words in the messages of libpq and OpenSSL if TLS fails, or a way to authenticate that the URL requires.
TLS = re.compile(r"\b(SSL|certificate|private key|sslmode|channel binding|authentication method)\b")
TLS_REMEDY = (
    "correct sslmode, sslrootcert, sslcert, channel_binding or require_auth, or the certificate of the server"
)

log = logging.getLogger("uvicorn.error")


def reason_and_remedy(error: Error) -> str:
    """Return in one line why an attempt to connect failed, and what to do."""
    reason = " ".join(str(error).split())
    default = TLS_REMEDY if TLS.search(reason) else REMEDY
    return f"{reason}; {REMEDIES.get(state_of_refusal(error), default)}"


class Pool(AsyncConnectionPool[Connection]):
    """`max_size` connections for requests of users, and one more for /ready, which does not queue."""

    def __init__(self, *args: Any, max_size: int, kwargs: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - as in psycopg
        kwargs = kwargs | {"report": self.record}
        super().__init__(*args, max_size=max_size + 1, kwargs=kwargs, **options)
        self.queue = FairQueue(max_size)
        self.kept: list[Connection] = []
        self.returning: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.asking: set[asyncio.Timeout] = set()  # timeouts of the requests that wait for psycopg's pool
        self.failure: str | None = None  # the SQLSTATE of the last attempt to connect, if it failed
        self.failures: Counter[str] = Counter()  # number of failed attempts to connect, by SQLSTATE
        self.connections: WeakSet[Connection] = WeakSet()
        self.renewed = 0.0

    async def take(self, user: str | None, server: int | None = None) -> Connection:
        """Wait for the user's turn and return a connection. Without a user (None), do not queue."""
        now = monotonic()
        self._raise_if_unreachable()
        if user is not None and not (self.queue.enter(user, now, server) or await self.queue.wait(user, now)):
            raise self._refusal(server)
        if self.kept:
            connection = self.kept.pop()
            connection.taken = self.queue.clock(monotonic())
            return connection
        try:
            connection = await self._get()
        except BaseException:
            if user is not None:
                self.queue.leave(user, 0, monotonic())
            raise
        now = monotonic()
        connection.taken, connection.due = self.queue.clock(now), now + KEPT
        return connection

    async def _get(self) -> Connection:
        """Get a connection from psycopg's pool. Stop waiting as soon as no connection can be made."""
        self._raise_if_unreachable()
        try:
            async with asyncio.timeout(None) as limit:
                self.asking.add(limit)
                try:
                    return await self.getconn()
                finally:
                    self.asking.discard(limit)
        except (PoolTimeout, TimeoutError):
            raise self._refusal() from None

    def _raise_if_unreachable(self) -> None:
        """Raise NoConnection if no connection can be made and none is open."""
        if self.failure and not self._has_connection():
            raise NoConnection(self.failure)

    def _has_connection(self) -> bool:
        return any(not connection.closed for connection in self.connections)

    def _refusal(self, server: int | None = None) -> Error:
        """Return NoConnection, QueryCanceled or PoolTimeout, as the docstring of the module says."""
        if self.failure or not self._has_connection():
            return NoConnection(self.failure or UNREACHABLE)
        if self.queue.free > 0 and self.queue.is_full(server):
            return errors.QueryCanceled("the worker with the user's rows took too long")
        return PoolTimeout("no connection in time")

    def record(self, made: Connection | Error) -> None:
        """Record the result of an attempt to connect. Log it if it differs from the last one."""
        if isinstance(made, Connection):
            self.connections.add(made)
            if self.failure:
                log.warning("DATABASE_URL: the database can be reached again")
            self.failure = None
            return
        state = state_of_refusal(made)
        self.failures[state] += 1
        if state != self.failure:
            log.error(
                "DATABASE_URL: no connection can be made, SQLSTATE %s: %s", state, reason_and_remedy(made)
            )
        self.failure = state
        if not self._has_connection():
            while self.asking:
                self.asking.pop().reschedule(asyncio.get_running_loop().time())

    async def give_back(self, user: str | None, connection: Connection) -> None:
        """Take a connection back.

        It is kept for the next request. If it is broken or due, if a request waits for psycopg's pool, or if
        there is no user, it is returned to psycopg's pool. Other checks at startup take it from there.
        """
        now = monotonic()
        try:
            idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
            if idle and user is not None and not self.asking and not self.closed and now < connection.due:
                self._keep(connection)
            else:
                await asyncio.shield(self._return(connection))
        finally:
            if user is not None:
                self.queue.leave(user, self.queue.clock(now) - connection.taken, now)

    def _keep(self, connection: Connection) -> None:
        self.kept.append(connection)
        if not self.returning:
            self.returning = asyncio.get_running_loop().call_later(KEPT, self._return_kept)

    def _return_kept(self) -> None:
        """Return the kept connections to psycopg's pool, which replaces old ones and closes surplus ones."""
        self.returning = None
        while self.kept:
            self._return(self.kept.pop())

    def _return(self, connection: Connection) -> asyncio.Task[None]:
        """Return a connection to psycopg's pool in a new task, which a cancelled request does not stop."""
        return self._run(self.putconn(connection))

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def renew(self) -> None:
        """Replace all connections; those in use are replaced when they are given back.

        This is done if one of them is connected to a server that cannot serve it, such as a standby. New ones
        resolve the host name again.
        """
        now = monotonic()
        if now < self.renewed + RENEWAL_PAUSE or self.closed:
            return
        self.renewed = now
        for connection in self.connections:
            connection.due = 0.0
        self._return_kept()
        self._run(self.drain())

    async def close(self, timeout: float = 5) -> None:  # noqa: ASYNC109 - as in psycopg
        """Close all connections."""
        self._return_kept()
        await asyncio.gather(*self.tasks)
        await super().close(timeout)

    def get_stats(self) -> dict[str, int]:
        """Return psycopg's statistics, with kept connections as available and all waiting requests."""
        stats = super().get_stats()
        return stats | {
            "pool_available": stats["pool_available"] + len(self.kept),
            "requests_waiting": len(self.asking) + self.queue.waiting,
        }
