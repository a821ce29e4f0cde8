"""Connections for reuse, and a queue in front of them that is bounded in length and in time.

psycopg's own pool counts those who gave up as still waiting and, once that queue is full, never connects
again; and it answers a refused connection by waiting. Here whoever needs a connection makes it: the first
request after an outage succeeds.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

from psycopg import OperationalError
from psycopg.pq import TransactionStatus

from app.connection import Connection

WAIT = 3  # seconds in the queue
LIFETIME = 3600  # seconds: then the address is looked up again
IDLE = 600  # seconds that a connection is kept for nobody


class Busy(OperationalError):
    """Every connection is taken, and the queue is full or was too slow."""


class Pool:
    """At most `size` connections, and `queue` requests that wait for one."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, queue: int) -> None:
        self.connect, self.size, self.queue = connect, size, queue
        self.slots = asyncio.Semaphore(size)
        self.idle: deque[tuple[float, float, Connection]] = deque()  # idle since, made, the least used first
        self.used = self.waiting = 0
        self.closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; raise Busy, or OperationalError where the server is away."""
        await self._queue()
        self.used += 1
        try:
            made, connection = await self._take()
            try:
                yield connection
            finally:
                await self._give(made, connection)
        finally:
            self.used -= 1
            self.slots.release()

    async def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        self.closed = True
        while self.idle:
            await self.idle.pop()[2].close()

    async def _queue(self) -> None:
        if self.slots.locked():
            if self.waiting >= self.queue:
                raise Busy("the queue is full")
            self.waiting += 1
            try:
                async with asyncio.timeout(WAIT):
                    await self.slots.acquire()
            except TimeoutError:
                raise Busy("no connection was free in time") from None
            finally:
                self.waiting -= 1
        else:
            await self.slots.acquire()

    async def _take(self) -> tuple[float, Connection]:
        while self.idle:
            _, made, connection = self.idle.pop()  # the one used last: the others may go
            if not connection.stale():  # the server may have closed it meanwhile
                return made, connection
            await connection.close()
        return monotonic(), await self.connect()

    async def _give(self, made: float, connection: Connection) -> None:
        now = monotonic()
        fit = connection.pgconn.transaction_status == TransactionStatus.IDLE and now < made + LIFETIME
        if fit and not self.closed:
            self.idle.append((now, made, connection))
        else:
            await connection.close()
        if self.idle and self.idle[0][0] < now - IDLE:
            await self.idle.popleft()[2].close()
