"""How one HTTP connection is read and written: what waits to be parsed, what waits to be read."""

import asyncio
from typing import Any


class Transport:
    """A transport that sends what one turn of the event loop writes at once: the head and body of an answer.

    uvloop would send each by itself, and sending is the dearest system call of a request. It reads nothing
    while some of what was received is held back from the parser, whatever uvicorn's flow control says.
    """

    __slots__ = ("flushed", "held", "loop", "pieces", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self.loop, self.transport = loop, transport
        self.pieces: list[bytes] = []
        self.held = memoryview(b"")
        self.flushed = 0  # bytes that were sent last, or have begun to be
        transport.set_write_buffer_limits(high=0)  # the protocol hears of the first byte that waits

    def write(self, data: bytes) -> None:
        """Send it soon."""
        if not self.pieces:
            self.loop.call_soon(self.flush)
        self.pieces.append(data)

    def flush(self) -> None:
        """Send it now, if there still is a client."""
        if self.pieces and not self.transport.is_closing():
            data = b"".join(self.pieces)
            self.flushed = len(data)
            self.transport.write(data)
        self.pieces.clear()

    def close(self) -> None:
        """Send what is left, then close."""
        self.flush()
        self.transport.close()

    def resume_reading(self) -> None:
        """Read on, if all that was read has been parsed."""
        if not self.held:
            self.transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)
