"""psycopg's pool behind a fair queue: callers waiting inside psycopg_pool contend on its lock."""

import asyncio
from time import monotonic
from typing import Any

from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.pool_async import ReturnConnection

from app.postgres.connection import Connection
from app.postgres.fair_queue import FairQueue

KEPT = 1  # seconds for which connections go from request to request before psycopg's pool sees to them


class Pool(AsyncConnectionPool[Connection]):
    """`max_size` connections for users' requests, and one more for the probe, which waits for none."""

    def __init__(self, *args: Any, max_size: int, **options: Any) -> None:  # noqa: ANN401 - psycopg's own
        super().__init__(*args, max_size=max_size + 1, **options)
        self.queue = FairQueue(max_size)
        self.kept: list[Connection] = []
        self.returning: asyncio.TimerHandle | None = None
        self.asking = 0

    async def take(self, user: str | None) -> Connection:
        """Return a connection when it is this user's turn, or now where none is named."""
        now = monotonic()
        if user is not None and not (self.queue.enter(user, now) or await self.queue.wait(user, now)):
            raise PoolTimeout("no connection in time")
        if self.kept:
            connection = self.kept.pop()
            connection.taken = monotonic()
            return connection
        self.asking += 1
        try:
            connection = await self.getconn()
        except BaseException:
            if user is not None:
                self.queue.leave(user, 0, monotonic())
            raise
        finally:
            self.asking -= 1
        connection.taken = monotonic()
        connection.due = connection.taken + KEPT
        return connection

    async def give_back(self, user: str | None, connection: Connection) -> None:
        """Keep it for the next request, unless it is unfit for one, or psycopg's pool is asked for one."""
        now = monotonic()
        try:
            idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
            if idle and not self.asking and not self.closed and now < connection.due:
                self._keep(connection)
            else:
                await self._return(connection)
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
            self.run_task(ReturnConnection(self, self.kept.pop(), from_getconn=False))

    async def _return(self, connection: Connection) -> None:
        """Return it to psycopg's pool, also from a task that is cancelled while the pool's lock is taken."""
        try:
            await self.putconn(connection)
        except asyncio.CancelledError:
            self.run_task(ReturnConnection(self, connection, from_getconn=False))
            raise

    async def close(self, timeout: float = 5) -> None:  # noqa: ASYNC109 - psycopg's own
        """Close all connections."""
        while self.kept:
            await self.putconn(self.kept.pop())
        await super().close(timeout)

    def get_stats(self) -> dict[str, int]:
        """Return psycopg's numbers, those kept among the idle, and the fair queue among those that wait."""
        stats = super().get_stats()
        return stats | {
            "pool_available": stats["pool_available"] + len(self.kept),
            "requests_waiting": stats.get("requests_waiting", 0) + self.queue.waiting,
        }
