"""HTTP/1.1 on one connection: request smuggling, backpressure and limits, on uvicorn's httptools protocol.

Why it exists. uvicorn's HttpToolsProtocol parses the body behind a refused `Upgrade` as the next request
(uvicorn #2722, httptools #124), which behind a proxy that shares connections is request smuggling. It takes
trailers for headers, keeps any number of header bytes, takes RTSP for HTTP, parses every pipelined request at
once, gives a client any time to send and to read, and closes a connection with bytes unread, which resets it.

What it costs. Nothing to speak of on each request. In code, this file on the inside of HttpToolsProtocol: its
cycle, flow, pipeline, scope and parser callbacks. tests/server/test_canaries.py fails in words when uvicorn
changes one of them, and when it fixes #2722.

When it can go. uvicorn's zttp protocol (uvicorn #2979) does the framing right by itself. When it is declared
stable, only what README.md lists under "HTTP parsers" remains: the time limits, the limit on what clients
leave unread, and the cancelling of the database's work for a client that has left.
"""

import asyncio
import re
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.edge import CLOSE, COMMON_HEADERS, MAX_FIELDS, MAX_PATH_BYTES, new_request_id
from app.api.state import Exchange, Services
from app.postgres.deadline import Client
from app.problems import Problem

# Time limits, in seconds.
CLIENT_TIMEOUT = 30  # for a client to send its request, and again to read the response
HALF_CLOSED = 1  # that a request goes on whose client sends no more: it may have left altogether
DRAIN_TIME = 1  # that an idle connection stays open when the server stops
LINGER = 2  # for a client to see the response to a request that it has not sent to its end

# Framing.
MAX_HEADER_BYTES = 65536  # of a head, trailers, chunk sizes: the parser itself would keep any number
MAX_LINE = 32768  # bytes of an unfinished head that are kept to look at its first line
VERSIONS = ("HTTP/1.1", "HTTP/1.0")
# llhttp's reason where it passes on a head, and then refuses the coding of its body.
PASSED_ON = "Request has invalid `Transfer-Encoding`"

# Backpressure.
MAX_PARSED = 8192  # bytes of one connection that one turn of the event loop parses
HEAD_END = b"\r\n\r\n"
MAX_HEADS = 4  # data that may hold more requests is parsed in pieces: the parser cannot be stopped
PIECE_BYTES = 512
MAX_UNREAD = 32 * 2**20  # bytes of responses that all clients together may leave unread
MAX_DRAINED = 262144  # bytes that are read and dropped while a connection lingers
MAX_JOINED = 65536  # bytes that are copied to be sent at once; more are sent without a copy


class Transport:
    """A transport that sends at once what one turn of the event loop writes: head and body of a response.

    uvloop would send each by itself, and sending is the most expensive system call of a request. It reads
    nothing while data is held back from the parser, whatever uvicorn's flow control says.
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
        transport.set_write_buffer_limits(high=0)  # so that pause_writing is called for the first unsent byte

    def write(self, data: bytes) -> None:
        """Send data in this turn of the event loop."""
        if not self.pieces:
            self.loop.call_soon(self.flush)
        self.pieces.append(data)

    def flush(self) -> None:
        """Send what was written, unless the connection is closing."""
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
        """Send what was written and close; linger if the client has not sent its request to the end."""
        if self.unfinished:
            self.linger()
        elif not self.lingering:
            self.flush()
            self.transport.close()

    def linger(self) -> None:
        """Send what was written, and close when the client has closed, after LINGER seconds at the latest.

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
        """Drop data received after the last response; stop reading when it is too much."""
        self.drained += size
        if self.drained > MAX_DRAINED:
            self.transport.pause_reading()

    def lost(self) -> None:
        """Drop the data that is held back, and the timer."""
        self.held = memoryview(b"")
        if self.lingering:
            self.lingering.cancel()

    def resume_reading(self) -> None:
        """Read on, if all that was read has been parsed."""
        if not self.held:
            self.transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)


class Protocol(HttpToolsProtocol):
    """Never parses a body as a request, and parses nothing while a response is due or unread.

    So a client cannot send requests faster than it reads responses.
    """

    # beyond 30 attributes an object takes 2 kB
    __slots__ = ("begun", "deadline", "framing", "head", "paused", "peer", "receiving", "unread")
    transport: Transport  # type: ignore[assignment]  # all that uvicorn uses of one

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Await the first head, for a limited time."""
        self.peer = Client()
        self.url = b""
        self.begun = b""  # what is being parsed, from the segment on in which its head began
        self.framing = 0  # bytes since the last request that were none of a body
        self.head = self.receiving = True  # between requests a head is awaited, but nothing received
        self.deadline: asyncio.TimerHandle | None = None
        super().connection_made(Transport(self.loop, transport))  # type: ignore[arg-type]  # see above
        self._run_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the database's work for this client cancelled."""
        self._stop_timer()
        self.transport.lost()
        self.peer.leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Keep an idle connection open for a request that may be on its way (see uvicorn_server)."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(DRAIN_TIME, super().shutdown)
        else:
            super().shutdown()

    # What is received: parsed, held back, or dropped.

    def data_received(self, data: bytes) -> None:
        """Parse data, or hold it back."""
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

    def parse(self, data: bytes) -> None:
        """Give data to the parser; refuse what cannot be a request, or is too large a one, and close."""
        self.framing += len(data)
        self.begun = self.begun + data if self.begun else data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if error.args[0] != PASSED_ON:  # else the application refuses it
                self._refuse(self._problem(error))
        else:
            if not (self.head and self.receiving):
                self.begun = b""
            elif len(self.begun) > MAX_LINE:
                self.begun = self.begun[:MAX_LINE]
            if self.framing > MAX_HEADER_BYTES:
                self._refuse(self._too_long())

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

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request; an empty line does not, or it would keep an idle connection for ever."""
        self._unset_keepalive_if_required()
        self.receiving = True
        super().on_message_begin()
        self.scope["state"]["client"] = self.peer

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; of too many, none is kept that follows."""
        if len(self.headers) == MAX_FIELDS:
            raise Problem(431, f"The request has more than {MAX_FIELDS} header fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take the head; what the parser then calls headers are trailers, dropped (RFC 9110, 6.5.1)."""
        if b" RTSP/" in self.begun or b" ICE/" in self.begun:  # which the parser takes for HTTP
            self._check_version()
        if self.parser.should_upgrade():
            return
        if not self.url.startswith(b"/") or len(self.url) > MAX_PATH_BYTES or b"#" in self.url:
            self._check_target()
        super().on_headers_complete()
        self.head = False
        self.transport.unfinished = True
        self.headers = []
        if self.pipeline:
            self.pipeline[0] = self.cycle, self.serve_when_read  # type: ignore[assignment]  # other types of ASGI

    def on_body(self, body: bytes) -> None:
        """Count the bytes of framing alone: of chunk sizes and trailers."""
        self.framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Await the next head."""
        if self.head:  # it was not taken
            return
        self.framing = 0
        self.receiving, self.head = False, True
        self.transport.unfinished = False
        if self.headers:
            self.headers = []
        cycle = self.cycle
        if not cycle.response_complete:  # as uvicorn's own, which asks the parser for an upgrade first
            cycle.more_body = False
            cycle.message_event.set()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the head again without its offer to upgrade (RFC 9110, 7.8), then what came behind it.

        The parser stops after such a head and would parse the body as a request. Only a second parser, to
        which the offer is never shown, decides where the body ends.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # its body has no meaning (RFC 9110, 9.3.6), and so no end
            return self._refuse(Problem(400, "No tunnel is made here"))
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.framing = 0
        return self.parse(b"\r\n".join([*lines, b"", rest]))

    # What is refused.

    def _version(self) -> str:
        """Return the protocol that the request line names; the parser gives its numbers alone."""
        line = b"%b +%b +([^\r\n]*)" % (re.escape(self.parser.get_method()), re.escape(self.url))
        found = re.search(line, self.begun)
        return found[1].decode("latin-1").rstrip() if found else VERSIONS[0]

    def _check_version(self) -> None:
        if self._version() not in VERSIONS:
            raise Problem(505, "Only HTTP/1.1 and HTTP/1.0 are supported")

    def _check_target(self) -> None:
        """Refuse a target that is too long to be decoded, or has a fragment; complete one without a path."""
        target, mark, query = self.url.partition(b"?")
        if b"#" in self.url:
            raise Problem(400, "The target of a request has no fragment (RFC 9112, section 3.2)")
        if len(target) > MAX_PATH_BYTES:
            raise Problem(404, "Path not found")
        if b"://" in target and b"/" not in target.partition(b"://")[2]:
            self.url = target + b"/" + mark + query  # RFC 9112, section 3.2.2

    def _problem(self, error: httptools.HttpParserError) -> Problem:
        """Return what a callback raised, or the parser's own refusal in HTTP's words."""
        if isinstance(error.__context__, Problem):
            return error.__context__
        if self.head and self.receiving and self.url and self._version() not in VERSIONS:
            return Problem(505, "Only HTTP/1.1 and HTTP/1.0 are supported")
        if "Transfer-Encoding` header value" in str(error):
            return Problem(501, "The only transfer coding supported is chunked")
        return Problem(400, "This is no valid HTTP request")

    def _too_long(self) -> Problem:
        if not (self.head and self.receiving):
            return Problem(400, "What is around the body of a request has more than 64 KiB")
        if not self.url:
            return Problem(400, "This is no valid HTTP request")
        if len(self.url) > MAX_HEADER_BYTES // 2:
            return Problem(414, "The target of the request is too long")
        return Problem(431, "The head of the request has more than 64 KiB")

    def _refuse(self, problem: Problem) -> None:
        """Send the problem, unless it could be taken for the response to another request; and close."""
        cycle, request_id = self.cycle, new_request_id()
        if self.head and cycle and not cycle.response_complete:
            cycle.keep_alive = False  # a request before this one is not answered yet
        elif not self.head and (cycle.response_started or self.pipeline):
            self.transport.linger()
        elif not self.transport.is_closing():
            self.peer.leave()  # what is refused has no effect, if it has none yet
            if not self.head:
                cycle.disconnected = True
                cycle.message_event.set()
            self.transport.write(self._response(problem, request_id))
            self.transport.linger()
        services: Services | None = self.app_state.get("services")
        for observe in services.observers if services else ():
            observe(Exchange("-", request_id.decode()), problem.status, 0)

    def _response(self, problem: Problem, request_id: bytes) -> bytes:
        response = problem.response()
        headers = [*response.raw_headers, *COMMON_HEADERS, CLOSE, (b"x-request-id", request_id)]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b"" if self.parser.get_method() == b"HEAD" else bytes(response.body)
        return STATUS_LINE[problem.status] + lines + b"\r\n" + body

    # Backpressure.

    async def serve_when_read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an application that begins when the client has read the responses to earlier requests."""
        await self.flow.drain()
        await self.app(scope, receive, send)

    def on_response_complete(self) -> None:
        """Drop the request: most connections are idle most of the time, and it is half of their memory."""
        super().on_response_complete()
        if not self.receiving and self.cycle.response_complete:
            self.cycle = self.scope = None  # type: ignore[assignment]  # as uvicorn begins
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def pause_writing(self) -> None:
        """Give the client its time to read; if all leave too much unread, close the slowest ones."""
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
        """Stop the timer, and parse what was held back."""
        super().resume_writing()
        self._run_timer()
        if self.transport.held:
            self.loop.call_soon(self.parse_held)

    def pace(self) -> float:
        """Return how many bytes a second the client reads."""
        read: int = self.unread - self.transport.get_write_buffer_size()
        return read / (self.loop.time() - self.paused + 0.001)

    def _must_wait(self) -> bool:
        """Return whether nothing may be parsed, because a response is due or unread."""
        due = self.head and self.cycle and not self.cycle.response_complete
        return bool(due or self.pipeline or self.flow.write_paused)

    # The time limit of the client.

    def _run_timer(self) -> None:
        """Run the timer while the client has something to send or to read."""
        if self.receiving or self.flow.write_paused:
            if self.deadline is None:
                self.deadline = self.loop.call_later(CLIENT_TIMEOUT, self.transport.abort)
        elif self.deadline:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None
