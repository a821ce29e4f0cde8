"""Request smuggling, and what no ASGI scope shows: how heads are bounded, and what the parser refuses."""

import asyncio
import re

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.edge import CLOSE, COMMON_HEADERS, MAX_FIELDS, MAX_PATH_BYTES, new_request_id
from app.postgres.deadline import Client
from app.problems import Problem
from app.server.transport import Transport

MAX_HEADER_BYTES = 65536  # of a head, trailers, chunk sizes: the parser itself would keep any number
MAX_LINE = 32768  # bytes of an unfinished head that are kept to look at its first line
VERSIONS = ("HTTP/1.1", "HTTP/1.0")
# llhttp's reason where it passes on a head, and then refuses the coding of its body.
PASSED_ON = "Request has invalid `Transfer-Encoding`"


class FramingProtocol(HttpToolsProtocol):
    """Subclass of uvicorn's HttpToolsProtocol that fixes request smuggling after an Upgrade.

    uvicorn also takes trailers for headers, keeps any number of them, and takes RTSP for HTTP.
    """

    # beyond 30 attributes an object takes 2 kB
    __slots__ = ("begun", "framing", "head", "peer", "receiving")
    transport: Transport  # type: ignore[assignment]  # all that uvicorn uses of one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Await the first head."""
        self.peer = Client()
        self.url = b""
        self.begun = b""  # what is being parsed, from the segment on in which its head began
        self.framing = 0  # bytes since the last request that were none of a body
        self.head = self.receiving = True  # between requests a head is awaited, but nothing received
        super().connection_made(Transport(self.loop, transport))  # type: ignore[arg-type]  # see above

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the database's work for this client cancelled."""
        self.peer.leave()
        super().connection_lost(exc)

    def parse(self, data: bytes) -> None:
        """Give it to the parser; refuse what cannot be a request, or is too much of one, and close."""
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

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; of too many, none is kept that follows."""
        if len(self.headers) == MAX_FIELDS:
            raise Problem(431, f"The request has more than {MAX_FIELDS} header fields")
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin a request; an empty line does not, or it would keep an idle connection for ever."""
        self._unset_keepalive_if_required()
        self.receiving = True
        super().on_message_begin()
        self.scope["state"]["client"] = self.peer

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

    async def serve_when_read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an application that begins when the client has read the answers to earlier requests."""
        await self.flow.drain()
        await self.app(scope, receive, send)

    def on_body(self, body: bytes) -> None:
        """Count what is around it."""
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

        The parser stops after such a head and would take the body for a request. Only a second one, to
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
        """Return what a callback raised, or what the parser's own refusal is in HTTP's words."""
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
        for observe in self.app_state.get("observers", ()):
            observe({"method": "-", "state": {"request_id": request_id.decode()}}, problem.status, 0)

    def _response(self, problem: Problem, request_id: bytes) -> bytes:
        response = problem.response()
        headers = [*response.raw_headers, *COMMON_HEADERS, CLOSE, (b"x-request-id", request_id)]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b"" if self.parser.get_method() == b"HEAD" else bytes(response.body)
        return STATUS_LINE[problem.status] + lines + b"\r\n" + body
