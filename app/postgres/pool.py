"""psycopg's pool behind a fair queue: callers waiting inside psycopg_pool contend on its lock.

A request is refused for one of two reasons: all connections were busy for too long (PoolTimeout), or none can
be made (NoConnection). The latter is known from the attempts that psycopg's pool makes, two or more a second;
meanwhile requests are refused at once, so that none waits for an outage to end.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from time import monotonic
from typing import Any
from weakref import WeakSet

from psycopg import Error
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.postgres.connection import UNREACHABLE, Connection, NoConnection, state_of_refusal
from app.postgres.fair_queue import FairQueue

KEPT = 1  # seconds for which connections go from request to request before psycopg's pool sees to them
RENEWAL_PAUSE = 1  # seconds between two renewals of all connections, which cost the server a process each

# What to do where no connection can be made, for the log.
REMEDIES = {
    "28P01": "set it to the password that tasks_api has now and restart; connections made before go on",
    "28000": "let tasks_api log in: pg_hba.conf, alter role tasks_api login",
    "53300": "lower POOL_SIZE or WEB_CONCURRENCY, or raise max_connections or the role's or database's limit",
    "25006": "the server is a standby: promote it, or let the address lead to the primary",
    "3D000": "create the database or name another one",
    "55000": "alter database … allow_connections true",
    "42501": "grant connect on database … to tasks_api",
}
REMEDY = "start the server, or let the address lead to one"

log = logging.getLogger("uvicorn.error")


class Pool(AsyncConnectionPool[Connection]):
    """`max_size` connections for users' requests, and one more for the probe, which waits in no queue."""

    def __init__(self, *args: Any, max_size: int, kwargs: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - psycopg's own
        kwargs = kwargs | {"report": self.note}
        super().__init__(*args, max_size=max_size + 1, kwargs=kwargs, **options)
        self.queue = FairQueue(max_size)
        self.kept: list[Connection] = []
        self.returning: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.asking: set[asyncio.Timeout] = set()  # the requests that wait for psycopg's pool
        self.failure: str | None = None  # the SQLSTATE of the last attempt to connect, if that failed
        self.failures: Counter[str] = Counter()  # attempts to connect, by SQLSTATE
        self.connections: WeakSet[Connection] = WeakSet()
        self.renewed = 0.0

    async def take(self, user: str | None) -> Connection:
        """Return a connection when it is this user's turn, or now where none is named."""
        now = monotonic()
        self._refuse_outage()
        if user is not None and not (self.queue.enter(user, now) or await self.queue.wait(user, now)):
            raise self._refusal()
        if self.kept:
            connection = self.kept.pop()
            connection.taken = monotonic()
            return connection
        try:
            connection = await self._get()
        except BaseException:
            if user is not None:
                self.queue.leave(user, 0, monotonic())
            raise
        connection.taken = monotonic()
        connection.due = connection.taken + KEPT
        return connection

    async def _get(self) -> Connection:
        """Get a connection from psycopg's pool; give up as soon as it is known that none can be made."""
        self._refuse_outage()
        try:
            async with asyncio.timeout(None) as limit:
                self.asking.add(limit)
                try:
                    return await self.getconn()
                finally:
                    self.asking.discard(limit)
        except (PoolTimeout, TimeoutError):
            raise self._refusal() from None

    def _refuse_outage(self) -> None:
        """Raise NoConnection if none can be made."""
        if self.failure and not self._has_connection():
            raise NoConnection(self.failure)

    def _has_connection(self) -> bool:
        return any(not connection.closed for connection in self.connections)

    def _refusal(self) -> Error:
        """Say why there is no connection in time: none can be made, or all are busy."""
        if self.failure or not self._has_connection():
            return NoConnection(self.failure or UNREACHABLE)
        return PoolTimeout("no connection in time")

    def note(self, made: Connection | Error) -> None:
        """Note that a connection was made, or why not: in the log where that changes."""
        if isinstance(made, Connection):
            self.connections.add(made)
            if self.failure:
                log.warning("DATABASE_URL: connections are made again")
            self.failure = None
            return
        state = state_of_refusal(made)
        self.failures[state] += 1
        if state != self.failure:
            reason = " ".join(str(made).split())
            remedy = REMEDIES.get(state, REMEDY)
            log.error("DATABASE_URL: no connection can be made, SQLSTATE %s: %s; %s", state, reason, remedy)
        self.failure = state
        if not self._has_connection():
            while self.asking:
                self.asking.pop().reschedule(asyncio.get_running_loop().time())

    async def give_back(self, user: str | None, connection: Connection) -> None:
        """Keep it for the next request, unless it is unfit for one, or psycopg's pool is asked for one."""
        now = monotonic()
        try:
            idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
            if idle and not self.asking and not self.closed and now < connection.due:
                self._keep(connection)
            else:
                await asyncio.shield(self._return(connection))
        finally:
            if user is not None:
                self.queue.leave(user, now - connection.taken, now)

    def _keep(self, connection: Connection) -> None:
        self.kept.append(connection)
        if not self.returning:
            self.returning = asyncio.get_running_loop().call_later(KEPT, self._return_kept)

    def _return_kept(self) -> None:
        """Let psycopg's pool renew those that are old, and close those that are too many."""
        self.returning = None
        while self.kept:
            self._return(self.kept.pop())

    def _return(self, connection: Connection) -> asyncio.Task[None]:
        """Return it to psycopg's pool in a task of its own: the caller's may be cancelled meanwhile."""
        return self._run(self.putconn(connection))

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def renew(self) -> None:
        """Replace all connections, those in use when they are given back.

        One of them leads to a server that cannot serve it, such as a standby, and so may the others; new ones
        lead to where the address leads now.
        """
        now = monotonic()
        if now < self.renewed + RENEWAL_PAUSE or self.closed:
            return
        self.renewed = now
        for connection in self.connections:
            connection.due = 0.0
        self._return_kept()
        self._run(self.drain())

    async def close(self, timeout: float = 5) -> None:  # noqa: ASYNC109 - psycopg's own
        """Close all connections."""
        self._return_kept()
        await asyncio.gather(*self.tasks)
        await super().close(timeout)

    def get_stats(self) -> dict[str, int]:
        """Return psycopg's numbers, the kept connections among the idle, and all requests that wait."""
        stats = super().get_stats()
        return stats | {
            "pool_available": stats["pool_available"] + len(self.kept),
            "requests_waiting": len(self.asking) + self.queue.waiting,
        }
