"""A connection whose socket stays watched: to begin and end a watch takes nine system calls."""

import asyncio
import select
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq.abc import PGconn


class WatchedConnection(AsyncConnection[Any]):
    """Watches its socket until it is closed or psycopg waits for it."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.socket = pgconn.socket
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        self.loop = asyncio.get_running_loop()
        self.watched = False
        self.waiting: asyncio.Future[None] | None = None

    async def wait_readable(self) -> None:
        """Wait until there is something to read."""
        if not self.watched:
            self.watched = True
            self.loop.add_reader(self.socket, self._tell)
        self.waiting = self.loop.create_future()
        try:
            await self.waiting
        finally:
            self.waiting = None

    def has_input(self) -> bool:
        """Tell whether there is something to read by now: of an answer, or the end.

        While the connection is idle it is the end, or rarely a notice.
        """
        return bool(self.poll.poll(0))

    async def wait(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - psycopg's own
        """Let psycopg wait."""
        self._unwatch()
        return await super().wait(*args, **kwargs)

    async def close(self) -> None:
        """Close the connection."""
        self._unwatch()
        await super().close()

    def finish(self) -> None:
        """Close the socket at once, whatever goes on."""
        self._unwatch()  # before another socket gets this number
        self.pgconn.finish()

    def _tell(self) -> None:
        if not self.waiting:  # the server closes an idle connection
            self._unwatch()
        elif not self.waiting.done():
            self.waiting.set_result(None)

    def _unwatch(self) -> None:
        if self.watched:
            self.watched = False
            self.loop.remove_reader(self.socket)
