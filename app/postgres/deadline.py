"""The deadline of a request's wait for the database, which is shorter if its client disconnects.

At the deadline the task is cancelled, and so is the statement at the server. So a client that has
disconnected does not keep a database connection busy. It is a timeout of asyncio, which is rescheduled when
the client disconnects.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import OperationalError

TIME_LIMIT = 8  # seconds; longer than the role's limits, which do not help if the network fails
CANCEL_GRACE = 0.2  # seconds from the start of a wait; most statements end by then without being cancelled


class ClientGone(Exception):
    """The client has disconnected, so its request is not served."""


class Client:
    """The client of an HTTP connection."""

    __slots__ = ("gone", "limit")

    def __init__(self) -> None:
        self.gone = False
        # Of the current request: the requests of a connection are served one after the other.
        self.limit: asyncio.Timeout | None = None

    def mark_gone(self) -> None:
        """Note that the client has disconnected. Its current wait ends CANCEL_GRACE after it began."""
        if not self.gone and self.limit and not self.limit.expired():
            began = (self.limit.when() or 0) - TIME_LIMIT
            self.limit.reschedule(began + CANCEL_GRACE)
        self.gone = True


@asynccontextmanager
async def deadline(client: Client) -> AsyncIterator[None]:
    """Cancel the block after TIME_LIMIT (OperationalError) or if the client disconnects (ClientGone)."""
    if client.gone:
        raise ClientGone
    limit = asyncio.timeout(TIME_LIMIT)
    client.limit = limit
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise (ClientGone if client.gone else OperationalError("no response in time")) from None
    finally:
        client.limit = None
