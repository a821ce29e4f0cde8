"""A client that goes away takes its query with it: nobody waits for the answer."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

PATIENCE = 0.2  # seconds until somebody looks: most waits are over sooner, and cost a timer


class Attended:
    """Cancels what its block waits for when the client goes away, and raises ClientDisconnect.

    Whoever waits in the block must not be receiving: the body is read before, or not wanted.
    """

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.gone = False
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
        if self.gone and self.task and not self.task.uncancel() and kind is asyncio.CancelledError:
            raise ClientDisconnect

    def _look(self) -> None:
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass  # the body that a GET or DELETE was sent with
        self.gone = True
        if self.task:
            self.task.cancel()
