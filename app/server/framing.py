"""A client's bytes are that client's requests: no body is taken for a request, no trailer for a header."""

import asyncio

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.postgres.deadline import Client
from app.server.transport import Transport

MAX_HEADER_BYTES = 65536  # of a head, trailers, chunk sizes: the parser itself would keep any number


class FramingProtocol(HttpToolsProtocol):
    """uvicorn's, which takes a body for requests after an upgrade, trailers for headers, and any number."""

    # beyond 30 attributes an object takes 2 kB
    __slots__ = ("framing", "head", "peer", "receiving")
    transport: Transport  # type: ignore[assignment]  # all that uvicorn uses of one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Await the first head."""
        self.peer = Client()
        self.framing = 0  # bytes since the last request that were none of a body
        self.head = self.receiving = True  # between requests a head is awaited, but nothing received
        super().connection_made(Transport(self.loop, transport))  # type: ignore[arg-type]  # see above

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the database's work for this client cancelled."""
        self.peer.leave()
        super().connection_lost(exc)

    def parse(self, data: bytes | memoryview) -> None:
        """Give it to the parser; end the connection where it cannot be a request, or is too much of one."""
        self.framing += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
        else:
            if self.framing > MAX_HEADER_BYTES:
                self._refuse("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin a request; an empty line does not, or it would keep an idle connection for ever."""
        self._unset_keepalive_if_required()
        self.receiving = True
        super().on_message_begin()
        self.scope["state"]["client"] = self.peer

    def on_headers_complete(self) -> None:
        """Take the head; what the parser then calls headers are trailers, dropped (RFC 9110, 6.5.1)."""
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        self.head = False
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
            return self._refuse("There is no tunnel here.")
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.framing = 0
        return self.parse(b"\r\n".join([*lines, b"", rest]))

    def _refuse(self, reason: str) -> None:
        """Answer 400, unless that could be taken for the answer to another request; and close."""
        cycle = self.cycle
        if self.head and cycle and not cycle.response_complete:
            cycle.keep_alive = False  # a request before this one is not answered yet
        elif not self.head and (cycle.response_started or self.pipeline):
            self.transport.close()
        elif not self.transport.is_closing():
            self.peer.leave()  # what is refused has no effect, if it has none yet
            self.send_400_response(reason)
