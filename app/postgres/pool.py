"""psycopg's pool behind a fair queue: callers waiting inside psycopg_pool contend on its lock."""

import asyncio
from typing import Any

from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.pool_async import ReturnConnection

from app.postgres.connection import Connection
from app.postgres.fair_queue import FairQueue


class Pool(AsyncConnectionPool[Connection]):
    """`max_size` connections for users' requests, and one more for the probe, which waits for none."""

    def __init__(self, *args: Any, max_size: int, **options: Any) -> None:  # noqa: ANN401 - psycopg's own
        super().__init__(*args, max_size=max_size + 1, **options)
        self.queue = FairQueue(max_size)

    async def take(self, user: str | None) -> Connection:
        """Return a connection when it is this user's turn, or now where none is named."""
        if user is None:
            return await self.getconn()
        if not (self.queue.enter(user) or await self.queue.wait(user)):
            raise PoolTimeout("no connection in time")
        try:
            return await self.getconn()
        except BaseException:
            self.queue.leave(user)
            raise

    async def give_back(self, user: str | None, connection: Connection) -> None:
        """Return it to the pool, also from a task that is cancelled while the pool's lock is taken."""
        try:
            await self.putconn(connection)
        except asyncio.CancelledError:
            self.run_task(ReturnConnection(self, connection, from_getconn=False))
            raise
        finally:
            if user is not None:
                self.queue.leave(user)

    def get_stats(self) -> dict[str, int]:
        """Return psycopg's numbers, the requests in the fair queue among those that wait."""
        stats = super().get_stats()
        return stats | {"requests_waiting": stats.get("requests_waiting", 0) + self.queue.waiting}
