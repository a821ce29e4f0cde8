"""Whoever waits for the database waits for a time, and only while the client does."""

import asyncio
from types import TracebackType

from psycopg import OperationalError
from starlette.requests import ClientDisconnect

TIME_LIMIT = 8  # seconds for all of it: the role's own limits are shorter, but a network may hang
PATIENCE = 0.2  # seconds: most of what a client leaves behind is done by then, and need not be cancelled


class Client:
    """The other end of an HTTP connection."""

    def __init__(self) -> None:
        self.gone = False
        self.waiting: set[Attended] = set()

    def leave(self) -> None:
        """Have cancelled what somebody waits for in its name."""
        self.gone = True
        if self.waiting:
            asyncio.get_running_loop().call_later(PATIENCE, self._forget)

    def _forget(self) -> None:
        for waiting in tuple(self.waiting):
            waiting.stop(ClientDisconnect())


class Attended:
    """Cancels what its block waits for when the client is gone (ClientDisconnect) or time is up."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reason: Exception | None = None

    def __enter__(self) -> None:
        if self.client.gone:
            raise ClientDisconnect
        loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(loop)
        self.timer = loop.call_later(TIME_LIMIT, self._late)
        self.client.waiting.add(self)

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.timer.cancel()
        self.client.waiting.discard(self)
        # Only our own cancellation is taken back; a server that stops has cancelled for itself.
        if self.reason and self.task and not self.task.uncancel() and kind is asyncio.CancelledError:
            raise self.reason

    def _late(self) -> None:
        self.stop(OperationalError("no answer in time"))

    def stop(self, reason: Exception) -> None:
        """Cancel it, and have the reason raised."""
        if not self.reason and self.task:
            self.reason = reason
            self.task.cancel()
