"""Whoever waits for the database is looked after: for a time, and while the client is there."""

import asyncio
from types import TracebackType

from psycopg import OperationalError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

PATIENCE = 0.2  # seconds until somebody looks: most waits are over sooner, and cost a timer
TIME_LIMIT = 8  # seconds for all of it: the role's own limits are shorter, but a network may hang


async def nobody() -> Message:
    """Receive nothing, ever."""
    nothing: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await nothing


class Attended:
    """Cancels what its block waits for when the client goes away (ClientDisconnect) or time is up.

    Whoever waits in the block must not be receiving: the body is read before, or not wanted.
    """

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.reason: Exception | None = None
        self.listening: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(loop)
        self.timer = loop.call_later(PATIENCE, self._look)

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.timer.cancel()
        if self.listening:
            self.listening.cancel()
        # Only our own cancellation is taken back; a server that stops has cancelled for itself.
        if self.reason and self.task and not self.task.uncancel() and kind is asyncio.CancelledError:
            raise self.reason

    def _look(self) -> None:
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            async with asyncio.timeout(TIME_LIMIT - PATIENCE):
                while (await self.receive())["type"] != "http.disconnect":
                    pass  # the body that a GET or DELETE was sent with
            self.reason = ClientDisconnect()
        except TimeoutError:
            self.reason = OperationalError("no answer in time")
        if self.task:
            self.task.cancel()
