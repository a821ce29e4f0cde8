"""One HTTP connection: how it is written to, what it keeps, and what a client may take of it.

That is a head of 64 KiB, and half a minute to send a request or to read an answer.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.postgres.deadline import Client

MAX_HEADER_BYTES = 65536  # bytes; the parser itself would keep any number
SLOWEST = 30  # seconds


class CoalescingTransport:
    """A transport that sends what one turn of the event loop writes at once: the head and body of an answer.

    uvloop would send each by itself, and sending is the dearest system call of a request.
    """

    __slots__ = ("loop", "pieces", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self.loop, self.transport = loop, transport
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it soon."""
        if not self.pieces:
            self.loop.call_soon(self.flush)
        self.pieces.append(data)

    def flush(self) -> None:
        """Send it now, if there still is a client."""
        if self.pieces and not self.transport.is_closing():
            self.transport.write(b"".join(self.pieces))
        self.pieces.clear()

    def close(self) -> None:
        """Send what is left, then close."""
        self.flush()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)


class Protocol(HttpToolsProtocol):
    """uvicorn's, which waits for ever for a client that is slow, and limits the head only in its h11 one."""

    __slots__ = ("deadline", "head", "peer", "receiving")  # beyond 30 attributes an object takes 2 kB

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Give the first request its time."""
        self.peer = Client()
        self.head = 0  # bytes of a head that is not complete
        self.receiving = True
        self.deadline: asyncio.TimerHandle | None = None
        super().connection_made(CoalescingTransport(self.loop, transport))  # type: ignore[arg-type]  # all that uvicorn uses
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait in the client's name, and forget the clock."""
        self.peer.leave()
        self._unlimit()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a head."""
        self.receiving, self.head = True, 1
        super().on_message_begin()
        self.scope["state"]["client"] = self.peer

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self.head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock."""
        self.receiving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Forget the request: most connections are idle most of the time, and it is half of their memory."""
        super().on_response_complete()
        if not self.receiving and self.cycle.response_complete:
            self.cycle = self.scope = None  # type: ignore[assignment]  # as uvicorn begins
            self.headers = []

    def data_received(self, data: bytes) -> None:
        """Close the connection of a client that sends too much or too slowly."""
        super().data_received(data)
        if self.head:
            self.head += len(data)
            if self.head > MAX_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too long.")
        if not self.receiving:
            self._unlimit()
        elif self.deadline is None:
            self._limit()

    def pause_writing(self) -> None:
        """Give the client its time to read."""
        super().pause_writing()
        self._limit()

    def resume_writing(self) -> None:
        """Stop the clock."""
        super().resume_writing()
        self._unlimit()

    def _limit(self) -> None:
        self._unlimit()
        self.deadline = self.loop.call_later(SLOWEST, self.transport.abort)

    def _unlimit(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None
