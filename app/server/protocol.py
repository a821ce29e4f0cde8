"""A subclass of uvicorn's HttpToolsProtocol that prevents request smuggling and adds backpressure and limits.

Why it exists. If an `Upgrade` is refused, HttpToolsProtocol parses the body of the request as the next
request (uvicorn #2722, httptools #124). Behind a proxy that sends the requests of several clients on one
connection, this is request smuggling. HttpToolsProtocol also treats trailers as headers, has no limit for
header bytes, accepts RTSP as HTTP, parses all pipelined requests immediately, and has no time limits for
clients that send or read slowly. It closes connections that still have unread bytes, which resets them.

What it costs. It adds little time to a request. The code depends on internals of HttpToolsProtocol: cycle,
flow, pipeline, scope and parser callbacks. tests/server/test_canaries.py fails with an explanation if uvicorn
changes one of them, or fixes #2722.

When it can be removed. uvicorn's zttp protocol (uvicorn #2979) handles the framing correctly. When zttp is
declared stable, this module is needed only for the rows of "HTTP parsers" in README.md that are "no" for
zttp, such as the time limits and the limit of unread responses.
"""

import asyncio
import re
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.edge import (
    CLOSE,
    COMMON_HEADERS,
    MAX_FIELDS,
    MAX_PATH_BYTES,
    PERCENT,
    is_authority,
    new_request_id,
    refuse_path,
)
from app.api.state import Exchange, Services
from app.postgres.deadline import Client
from app.problems import Problem

# Time limits, in seconds.
CLIENT_TIMEOUT = 30  # for a client to send a request, and to read a response
HALF_CLOSED = 1  # for a request to be served after its client has half-closed the connection
DRAIN_TIME = 1  # for an idle connection to stay open after the server began to stop
LINGER = 2  # for a client to read a response before the end of its request

# Framing.
MAX_HEADER_BYTES = 65536  # bytes of a head, trailers or chunk sizes; the parser has no limit
MAX_LINE = 32768  # bytes of an incomplete head that are kept; they include the request line
VERSIONS = ("HTTP/1.1", "HTTP/1.0")
SCHEMES = (b"http", b"https")
HASH = ord("#")
LINES = re.compile(rb"[^\r\n]+")
# llhttp's error for a transfer coding. It is raised after on_headers_complete, when the application has the
# request already and refuses it itself.
PASSED_ON = "Request has invalid `Transfer-Encoding`"

# Backpressure.
MAX_PARSED = 8192  # bytes of one connection that are parsed in one iteration of the event loop
HEAD_END = b"\r\n\r\n"
# Data with more heads is parsed in pieces of PIECE_BYTES, since the parser cannot be stopped within a piece.
MAX_HEADS = 4
PIECE_BYTES = 512
MAX_UNREAD = 32 * 2**20  # bytes of responses that are unread by all clients together
MAX_DRAINED = 262144  # bytes that are read and discarded while a connection lingers
MAX_JOINED = 65536  # bytes; longer data is not copied into one buffer with the head
NOTHING = memoryview(b"")  # one for all connections, since each takes 300 bytes


class Transport:
    """A transport that sends all writes of one iteration of the event loop together: head and body.

    uvloop would send each separately, and send() is the most expensive system call of a request. This
    transport also does not read while received data is held back from the parser, independently of
    uvicorn's flow control.
    """

    __slots__ = ("drained", "flushed", "held", "lingering", "loop", "pieces", "transport", "unfinished")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self.loop, self.transport = loop, transport
        self.pieces: list[bytes] = []
        self.held = NOTHING  # received data that is not parsed yet
        self.flushed = 0  # bytes of the last flush
        self.unfinished = False  # whether the client has not sent all of its request
        self.lingering: asyncio.TimerHandle | None = None
        self.drained = 0
        transport.set_write_buffer_limits(high=0)  # pause_writing is called for the first unsent byte

    def write(self, data: bytes) -> None:
        """Send data at the end of this iteration of the event loop."""
        if not self.pieces:
            self.loop.call_soon(self.flush)
        self.pieces.append(data)

    def flush(self) -> None:
        """Send the written data, unless the connection is closing."""
        if self.pieces and not self.is_closing():
            self.flushed = sum(map(len, self.pieces))
            # writelines() would not call pause_writing() in Python 3.12.0 to 3.13.1 (CVE-2024-12254)
            for data in self.pieces if self.flushed > MAX_JOINED else [b"".join(self.pieces)]:
                self.transport.write(data)
        self.pieces.clear()

    def close(self) -> None:
        """Send the written data and close. Linger if the client has not sent all of its request."""
        if self.unfinished:
            self.linger()
        elif not self.lingering:
            self.flush()
            self.transport.close()

    def linger(self) -> None:
        """Send the written data, and close when the client closes, or after LINGER seconds.

        Closing a socket with unread bytes resets the connection, which can destroy the response before
        the client has read it (RFC 9112, section 9.6).
        """
        self.flush()
        if self.is_closing():
            return
        if not self.transport.can_write_eof():  # with TLS
            self.transport.close()
            return
        self.held = NOTHING
        self.lingering = self.loop.call_later(LINGER, self.transport.close)
        self.transport.write_eof()
        self.transport.resume_reading()

    def is_closing(self) -> bool:
        """Return whether the connection is closing or lingering, so that no further request is served."""
        return self.lingering is not None or self.transport.is_closing()

    def drain(self, size: int) -> None:
        """Count data that is discarded after the last response; stop reading after MAX_DRAINED bytes."""
        self.drained += size
        if self.drained > MAX_DRAINED:
            self.transport.pause_reading()

    def lost(self) -> None:
        """Discard the data that is held back, and cancel the timer."""
        self.held = NOTHING
        if self.lingering:
            self.lingering.cancel()

    def resume_reading(self) -> None:
        """Resume reading, unless data is held back."""
        if not self.held:
            self.transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as in the transport
        return getattr(self.transport, name)


class Protocol(HttpToolsProtocol):
    """HttpToolsProtocol with correct framing, backpressure and limits.

    It does not parse while a response is pending or unread, so a client cannot send requests faster than it
    reads responses.
    """

    # without slots an object with more than 30 attributes takes 2 kB
    __slots__ = ("awaits_head", "begun", "deadline", "framing", "paused", "peer", "receiving", "unread")
    transport: Transport  # type: ignore[assignment]  # it has all methods that uvicorn uses

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start to wait for the first head, with a time limit."""
        self.peer = Client(keeps_timer=True)
        self.url = b""
        self.begun = b""  # the received data that contains the current head; it may begin before the head
        self.framing = 0  # bytes since the last request, except those of a body
        self.awaits_head = self.receiving = True  # waiting for a head; receiving a request
        self.deadline: asyncio.TimerHandle | None = None
        super().connection_made(Transport(self.loop, transport))  # type: ignore[arg-type]  # see above
        self._run_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the statement that is running for this client."""
        self._stop_timer()
        self.transport.lost()
        self.peer.mark_gone()
        # After a reset, uvicorn would leave this timer running, which would keep this object in memory.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close an idle connection after DRAIN_TIME: a request may be on its way (see uvicorn_server)."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(DRAIN_TIME, super().shutdown)
        else:
            super().shutdown()

    # Received data: parsed, held back or discarded.

    def data_received(self, data: bytes) -> None:
        """Parse data, or hold it back if a response is pending or unread or the data is long."""
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
        """Parse up to MAX_PARSED bytes of the held data; continue in the next iteration of the event loop."""
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

    def parse(self, data: bytes) -> None:
        """Pass data to the parser. Refuse a malformed or too large request, and close."""
        self.framing += len(data)
        self.begun = self.begun + data if self.begun else data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if error.args[0] != PASSED_ON:  # otherwise the application refuses it
                self._refuse(self._problem(error))
        else:
            if not (self.awaits_head and self.receiving):
                self.begun = b""
            elif len(self.begun) > MAX_LINE:
                self.begun = self.begun[:MAX_LINE]
            if self.framing > MAX_HEADER_BYTES:
                self._refuse(self._too_long())
            elif self.headers and len(self.headers) > MAX_FIELDS:
                self._refuse(self._too_many())

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio documents it
        """Serve the request of a client that has half-closed (RFC 9112, 9.6); return True in this case.

        A client that has closed the connection completely looks the same, so its request gets only
        HALF_CLOSED seconds.
        """
        cycle = self.cycle
        if self.transport.is_closing() or not (self.awaits_head and cycle) or cycle.response_complete:
            self.transport.flush()
            return False
        cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED, self.peer.mark_gone)
        return True

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Begin a request.

        Empty lines before a request do not reset the idle timer, so they cannot keep a connection open
        forever.
        """
        self._unset_keepalive_if_required()
        self.receiving = True
        super().on_message_begin()
        self.scope["state"]["client"] = self.peer

    def on_headers_complete(self) -> None:
        """Start the request. Later header fields are trailers, and are dropped (RFC 9110, 6.5.1)."""
        if len(self.headers) > MAX_FIELDS:
            raise self._too_many()
        if self.begun.count(b" RTSP/") or self.begun.count(b" ICE/"):  # the parser accepts these protocols
            self._check_version()
        if self.parser.should_upgrade():
            return
        if (
            not self.url.startswith(b"/")
            or len(self.url) > MAX_PATH_BYTES
            or PERCENT in self.url
            or HASH in self.url
        ):
            self._check_target()
        super().on_headers_complete()
        self.awaits_head = False
        self.transport.unfinished = True
        self.headers = []
        if self.pipeline:
            self.pipeline[0] = self.cycle, self.serve_when_read  # type: ignore[assignment]  # uvicorn's own types

    def on_body(self, body: bytes) -> None:
        """Subtract the body from the count of framing bytes, which are heads, chunk sizes and trailers."""
        self.framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request and wait for the next head."""
        if self.awaits_head:  # the head was refused
            return
        self.framing = 0
        self.receiving, self.awaits_head = False, True
        self.transport.unfinished = False
        if self.headers:
            self.headers = []
        cycle = self.cycle
        if not cycle.response_complete:  # as in uvicorn, which checks for an upgrade first
            cycle.more_body = False
            cycle.message_event.set()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the head again without `Upgrade` (RFC 9110, 7.8), then the data after it.

        The parser stops after a head with `Upgrade`, and would then parse the body as a request. So a new
        parser gets the head without the field, and finds the end of the body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # a body of CONNECT has no defined end (RFC 9110, 9.3.6)
            return self._refuse(Problem(400, "CONNECT is not supported"))
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.framing = 0
        return self.parse(b"\r\n".join([*lines, b"", rest]))

    # Refused requests.

    def _version(self) -> str:
        """Return the protocol and version in the request line. The parser returns only the version.

        A pattern that contains the target would take 40 ms to compile, and re would cache 300 kB of it.
        """
        begins = [self.parser.get_method(), self.url]
        for line in LINES.findall(self.begun):
            words = line.split(None, 2)
            if words[:2] == begins:
                return b"".join(words[2:]).decode("latin-1").rstrip()
        return VERSIONS[0]

    def _check_version(self) -> None:
        if self._version() not in VERSIONS:
            raise Problem(505, "Only HTTP/1.1 and HTTP/1.0 are supported")

    def _check_target(self) -> None:
        """Raise Problem for a target that matches no route, before uvicorn decodes it; add a missing path."""
        target, mark, query = self.url.partition(b"?")
        if HASH in self.url:
            raise Problem(400, "The target of a request must not have a fragment (RFC 9112, section 3.2)")
        refuse_path(target)
        scheme, absolute, rest = target.partition(b"://")
        if absolute and not target.startswith(b"/"):  # RFC 9112, section 3.2.2
            authority, slash, _ = rest.partition(b"/")
            if scheme.lower() not in SCHEMES or not is_authority(authority):
                raise Problem(400, "The target must be a path, or an http or https URL without a user name")
            if not slash:
                self.url = target + b"/" + mark + query

    def _problem(self, error: httptools.HttpParserError) -> Problem:
        """Return the problem that a callback raised, or one for the parser's error."""
        if isinstance(error.__context__, Problem):
            return error.__context__
        if self.awaits_head and self.receiving and self.url and self._version() not in VERSIONS:
            return Problem(505, "Only HTTP/1.1 and HTTP/1.0 are supported")
        if "Transfer-Encoding` header value" in str(error):
            return Problem(501, "The only transfer coding supported is chunked")
        return Problem(400, "This is not a valid HTTP request")

    def _too_many(self) -> Problem:
        self.headers = []  # otherwise they would stay in memory while the connection lingers
        return Problem(431, f"The request has more than {MAX_FIELDS} header fields")

    def _too_long(self) -> Problem:
        if not (self.awaits_head and self.receiving):
            return Problem(400, "The chunk sizes and trailers of the request have more than 64 KiB")
        if not self.url:
            return Problem(400, "This is not a valid HTTP request")
        if len(self.url) > MAX_HEADER_BYTES // 2:
            return Problem(414, "The target of the request is too long")
        return Problem(431, "The head of the request has more than 64 KiB")

    def _refuse(self, problem: Problem) -> None:
        """Send the problem and close the connection.

        It is not sent if the client could take it for the response to another request.
        """
        cycle, request_id = self.cycle, new_request_id()
        if self.awaits_head and cycle and not cycle.response_complete:
            cycle.keep_alive = False  # the request before this one is still being served
        elif not self.awaits_head and (cycle.response_started or self.pipeline):
            self.transport.linger()
        elif not self.transport.is_closing():
            self.peer.mark_gone()  # cancels the statement of the refused request
            if not self.awaits_head:
                cycle.disconnected = True
                cycle.message_event.set()
            self.transport.write(self._response(problem, request_id))
            self.transport.linger()
        services: Services | None = self.app_state.get("services")
        for observe in services.observers if services else ():
            observe(Exchange("-", request_id, {}), problem.status, 0)

    def _response(self, problem: Problem, request_id: str) -> bytes:
        response = problem.response()
        headers = [*response.raw_headers, *COMMON_HEADERS, CLOSE, (b"x-request-id", request_id.encode())]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b"" if self.parser.get_method() == b"HEAD" else bytes(response.body)
        return STATUS_LINE[problem.status] + lines + b"\r\n" + body

    # Backpressure.

    async def serve_when_read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application after the client has read the responses to earlier requests."""
        await self.flow.drain()
        await self.app(scope, receive, send)

    def on_response_complete(self) -> None:
        """Drop the objects of the request, which are half of the memory of an idle connection."""
        super().on_response_complete()
        if not self.receiving and self.cycle.response_complete:
            self.cycle = self.scope = None  # type: ignore[assignment]  # as before the first request
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def pause_writing(self) -> None:
        """Start the time limit for reading. If too much is unread, close the slowest connections."""
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
        """Stop the timer, and parse the held data."""
        super().resume_writing()
        self._run_timer()
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def pace(self) -> float:
        """Return the bytes per second that the client reads."""
        read: int = self.unread - self.transport.get_write_buffer_size()
        return read / (self.loop.time() - self.paused + 0.001)

    def _must_wait(self) -> bool:
        """Return whether parsing must wait because a response is pending or unread."""
        due = self.awaits_head and self.cycle and not self.cycle.response_complete
        return bool(due or self.pipeline or self.flow.write_paused)

    # The time limit of clients.

    def _run_timer(self) -> None:
        """Start or stop the timer. It runs while the client must send or read."""
        if self.receiving or self.flow.write_paused:
            if self.deadline is None:
                self.deadline = self.loop.call_later(CLIENT_TIMEOUT, self.transport.abort)
        elif self.deadline:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None
