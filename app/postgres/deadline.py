"""A request waits for the database for a limited time, and only while its client is there."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType

from psycopg import OperationalError
from starlette.requests import ClientDisconnect

TIME_LIMIT = 8  # seconds until it is cancelled: the role's own limits are shorter, but a network may hang
CANCEL_GRACE = 0.2  # seconds from its beginning: most is done by then, and need not be cancelled
LATE = partial(OperationalError, "no answer in time")


class Client:
    """The other end of an HTTP connection."""

    __slots__ = ("gone", "waiting")

    def __init__(self) -> None:
        self.gone = False
        self.waiting: Deadline | None = None  # one at most: answers come in the order of the requests

    def leave(self) -> None:
        """Cancel what its request waits for, in a moment."""
        self.gone = True
        if waiting := self.waiting:
            waiting.loop.call_at(waiting.since + CANCEL_GRACE, waiting.stop, ClientDisconnect)


class Deadline:
    """Cancels what its block waits for when the client is gone (ClientDisconnect) or time is up."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reason: Callable[[], Exception] | None = None

    def __enter__(self) -> None:
        if self.client.gone:
            raise ClientDisconnect
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(self.loop)
        self.since = self.loop.time()
        self.timer = self.loop.call_later(TIME_LIMIT, self.stop, LATE)
        self.client.waiting = self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.timer.cancel()
        self.client.waiting = None
        # Only our own cancellation is taken back; a server that stops has cancelled for itself.
        if self.reason and self.task and not self.task.uncancel() and kind is asyncio.CancelledError:
            raise self.reason()  # made only now: kept, it would keep itself by its traceback

    def stop(self, reason: Callable[[], Exception]) -> None:
        """Cancel it, and have the reason raised."""
        if self.client.waiting is self and not self.reason and self.task:
            self.reason = reason
            self.task.cancel()
