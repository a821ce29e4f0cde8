"""A request waits for the database for a limited time, and only while its client is there.

After that its task is cancelled, and so is the statement at the server: a client that left does not keep a
connection busy. This is asyncio's own timeout, which is shortened when the client leaves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import OperationalError

TIME_LIMIT = 8  # seconds; the role's own limits are shorter, but a network may hang
CANCEL_GRACE = 0.2  # seconds from the beginning: most statements are done by then, and need not be cancelled


class ClientGone(Exception):
    """The client has left, so its request is not served."""


class Client:
    """The other end of an HTTP connection."""

    __slots__ = ("gone", "limit")

    def __init__(self) -> None:
        self.gone = False
        self.limit: asyncio.Timeout | None = None  # of one request at most: responses come in order

    def leave(self) -> None:
        """Cancel what its request waits for, in a moment."""
        if not self.gone and self.limit and not self.limit.expired():
            began = (self.limit.when() or 0) - TIME_LIMIT
            self.limit.reschedule(began + CANCEL_GRACE)
        self.gone = True


@asynccontextmanager
async def deadline(client: Client) -> AsyncIterator[None]:
    """Cancel the block when time is up (OperationalError) or the client is gone (ClientGone)."""
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
        raise (ClientGone if client.gone else OperationalError("no answer in time")) from None
    finally:
        client.limit = None
