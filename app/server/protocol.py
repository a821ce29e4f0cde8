"""Backpressure: limits of time, and of what one client has parsed and leaves unread at a time."""

import asyncio

from app.server.framing import FramingProtocol

CLIENT_TIMEOUT = 30  # seconds
HALF_CLOSED = 1  # seconds that a request goes on whose client sends no more: it may have left altogether
DRAIN_TIME = 1  # seconds
MAX_PARSED = 8192  # bytes of one connection that one turn of the event loop parses
HEAD_END = b"\r\n\r\n"
MAX_HEADS = 4  # what may hold more is given to the parser in pieces: it cannot be stopped
PIECE_BYTES = 512
MAX_UNREAD = 32 * 2**20  # bytes of answers that all clients together may leave unread


class Protocol(FramingProtocol):
    """Parses no further while an answer is due or unread: a client cannot ask faster than it reads."""

    __slots__ = ("deadline", "paused", "unread")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Give the first request its time."""
        self.deadline: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._run_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_timer()
        self.transport.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, or hold it back."""
        held = self.transport.held
        if (
            held
            or self.transport.lingering
            or self.flow.write_paused
            or (self.cycle and self._must_wait())
            or len(data) > MAX_PARSED
            or data.count(HEAD_END) > MAX_HEADS
        ):
            if self.transport.lingering:
                self.transport.drain(len(data))
                return
            self.transport.held = memoryview(bytes(held) + data)
            self.parse_held()
            return
        self.parse(data)
        if self.receiving or self.deadline:
            self._run_timer()

    def parse_held(self) -> None:
        """Parse some of what is held back, and more in the next turn of the loop, after other clients."""
        transport = self.transport
        rest = max(0, len(transport.held) - MAX_PARSED)
        while len(transport.held) > rest and not (self._must_wait() or transport.is_closing()):
            piece, transport.held = transport.held[:PIECE_BYTES], transport.held[PIECE_BYTES:]
            self.parse(bytes(piece))
        if transport.held and not transport.is_closing():
            transport.pause_reading()
            if not self._must_wait():
                self.loop.call_soon(self.parse_held)
        elif not self.flow.read_paused:
            transport.resume_reading()
        self._run_timer()

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio documents it
        """Respond to what a client asked before it half-closed (RFC 9112, section 9.6); return whether.

        A client that closed for good looks the same. So its request goes on for a moment only.
        """
        cycle = self.cycle
        if self.transport.is_closing() or not (self.head and cycle) or cycle.response_complete:
            self.transport.flush()
            return False
        cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED, self.peer.leave)
        return True

    def on_response_complete(self) -> None:
        """Forget the request: most connections are idle most of the time, and it is half of their memory."""
        super().on_response_complete()
        if not self.receiving and self.cycle.response_complete:
            self.cycle = self.scope = None  # type: ignore[assignment]  # as uvicorn begins
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def pause_writing(self) -> None:
        """Give the client its time to read; where all leave too much unread, leave the slowest of them."""
        super().pause_writing()
        self.paused, self.unread = self.loop.time(), self.transport.flushed
        self._stop_timer()
        self._run_timer()
        unread = [each for each in self.connections if isinstance(each, Protocol) and each.flow.write_paused]
        while sum(each.unread for each in unread) > MAX_UNREAD:
            slowest = min(unread, key=Protocol.pace)
            unread.remove(slowest)
            slowest.transport.abort()

    def resume_writing(self) -> None:
        """Stop the clock, and go on."""
        super().resume_writing()
        self._run_timer()
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def shutdown(self) -> None:
        """Leave an idle connection to a request that may be on its way (see uvicorn_server)."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(DRAIN_TIME, super().shutdown)
        else:
            super().shutdown()

    def pace(self) -> float:
        """Return how many bytes a second the client reads."""
        read: int = self.unread - self.transport.get_write_buffer_size()
        return read / (self.loop.time() - self.paused + 0.001)

    def _must_wait(self) -> bool:
        due = self.head and self.cycle and not self.cycle.response_complete
        return bool(due or self.pipeline or self.flow.write_paused)

    def _run_timer(self) -> None:
        """Run the clock while the client has something to send or to read."""
        if self.receiving or self.flow.write_paused:
            if self.deadline is None:
                self.deadline = self.loop.call_later(CLIENT_TIMEOUT, self.transport.abort)
        elif self.deadline:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None
