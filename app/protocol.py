"""What one connection may take: a head of 64 KiB, half a minute for a request or to read an answer."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 65536  # bytes; the parser itself would keep any number
SLOWEST = 30  # seconds


class Protocol(HttpToolsProtocol):
    """uvicorn's, which waits for ever for a client that is slow, and limits the head only in its h11 one."""

    head = 0  # bytes of a head that is not complete
    receiving = True
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Give the first request its time."""
        super().connection_made(transport)
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._unlimit()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a head."""
        self.receiving, self.head = True, 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self.head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock."""
        self.receiving = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Close the connection of a client that sends too much or too slowly."""
        super().data_received(data)
        if self.head:
            self.head += len(data)
            if self.head > LONGEST_HEAD and not self.transport.is_closing():
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
