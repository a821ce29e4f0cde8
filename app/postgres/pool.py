"""A queue before psycopg's pool: whoever waits in the pool itself makes all others wait for its lock."""

import asyncio
from typing import Any

from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests
from psycopg_pool.pool_async import ReturnConnection

from app.postgres.connection import Connection


class Pool(AsyncConnectionPool[Connection]):
    """At most `max_size` requests have a turn in the pool, at most `queue` wait for one, in order."""

    def __init__(self, *args: Any, max_size: int, queue: int, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, max_size=max_size, **options)
        self.slots = asyncio.Semaphore(max_size)
        self.queue = queue
        self.queued = 0

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - psycopg's own
        """Return a connection within so many seconds."""
        limit = self.timeout if timeout is None else timeout
        if self.slots.locked():
            limit = await self._wait_for_slot(limit)
        else:
            await self.slots.acquire()
        try:
            return await super().getconn(limit)
        except BaseException:
            self.slots.release()
            raise

    async def putconn(self, conn: Connection) -> None:
        """Take a connection back, also from somebody who is cancelled while the pool's lock is taken."""
        try:
            await super().putconn(conn)
        except asyncio.CancelledError:
            self.run_task(ReturnConnection(self, conn, from_getconn=False))
            raise
        finally:
            self.slots.release()

    def get_stats(self) -> dict[str, int]:
        """Return psycopg's numbers, its queue and ours being one."""
        stats = super().get_stats()
        return stats | {"requests_waiting": stats.get("requests_waiting", 0) + self.queued}

    async def _wait_for_slot(self, limit: float) -> float:
        """Wait for a turn; return how many of the seconds are left."""
        if self.queued >= self.queue:
            raise TooManyRequests("the queue is full")
        self.queued += 1
        until = asyncio.get_running_loop().time() + limit
        try:
            async with asyncio.timeout_at(until):
                await self.slots.acquire()
        except TimeoutError:
            raise PoolTimeout("no connection in time") from None
        finally:
            self.queued -= 1
        return until - asyncio.get_running_loop().time()
