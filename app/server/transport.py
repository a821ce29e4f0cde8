"""How one HTTP connection is read and written: what waits to be parsed, what waits to be read."""

import asyncio
from typing import Any

LINGER = 2  # seconds for a client to see the response to what it has not sent to its end
MAX_DRAINED = 262144  # bytes that are read meanwhile, and dropped
MAX_JOINED = 65536  # bytes that are copied to be sent at once; more are sent without a copy


class Transport:
    """A transport that sends what one turn of the event loop writes at once: the head and body of an answer.

    uvloop would send each by itself, and sending is the dearest system call of a request. It reads nothing
    while some of what was received is held back from the parser, whatever uvicorn's flow control says.
    """

    __slots__ = ("drained", "flushed", "held", "lingering", "loop", "pieces", "transport", "unfinished")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self.loop, self.transport = loop, transport
        self.pieces: list[bytes] = []
        self.held = memoryview(b"")
        self.flushed = 0  # bytes that were sent last, or have begun to be
        self.unfinished = False  # whether the client has more of its request to send
        self.lingering: asyncio.TimerHandle | None = None
        self.drained = 0
        transport.set_write_buffer_limits(high=0)  # the protocol hears of the first byte that waits

    def write(self, data: bytes) -> None:
        """Send it soon."""
        if not self.pieces:
            self.loop.call_soon(self.flush)
        self.pieces.append(data)

    def flush(self) -> None:
        """Send it now, if there still is a client."""
        if self.pieces and not self.is_closing():
            if len(self.pieces[-1]) > MAX_JOINED:
                self.flushed = sum(map(len, self.pieces))
                self.transport.writelines(self.pieces)
            else:
                data = b"".join(self.pieces)
                self.flushed = len(data)
                self.transport.write(data)
        self.pieces.clear()

    def close(self) -> None:
        """Send what is left, then close; in two steps if the client has not sent its request to the end."""
        if self.unfinished:
            self.linger()
        elif not self.lingering:
            self.flush()
            self.transport.close()

    def linger(self) -> None:
        """Send what is left, and close when the client has closed, after LINGER seconds at the latest.

        Closing a socket that holds unread bytes resets the connection, which can destroy the response before
        the client has read it (RFC 9112, section 9.6).
        """
        self.flush()
        if self.is_closing():
            return
        if not self.transport.can_write_eof():  # as under TLS
            self.transport.close()
            return
        self.held = memoryview(b"")
        self.lingering = self.loop.call_later(LINGER, self.transport.close)
        self.transport.write_eof()
        self.transport.resume_reading()

    def is_closing(self) -> bool:
        """Return whether no more requests are taken."""
        return self.lingering is not None or self.transport.is_closing()

    def drain(self, size: int) -> None:
        """Drop what was received after the last response; stop reading when it is too much."""
        self.drained += size
        if self.drained > MAX_DRAINED:
            self.transport.pause_reading()

    def lost(self) -> None:
        """Forget what is held, and the timer."""
        self.held = memoryview(b"")
        if self.lingering:
            self.lingering.cancel()

    def resume_reading(self) -> None:
        """Read on, if all that was read has been parsed."""
        if not self.held:
            self.transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)
