"""Tests by socket that uvicorn's protocol with our changes is safe from request smuggling and overload."""

import asyncio
import gc
import json
import random
import socket
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from support.parsers import OURS, protocol_of
from support.sockets import connect, listening, turns
from uvicorn.server import ServerState

from app.api.edge import MAX_FIELDS
from app.api.state import Exchange
from app.server import protocol

GET = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
HUGE = 6_000_000  # bytes of a large page


@dataclass
class Service:
    """Responds with the request that it got; to /large with many bytes, to /slow after `go`.

    It does not read the bodies of /early and /refused.
    """

    seen: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        body, more = b"", scope["path"] not in ("/early", "/refused")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        if scope["path"] == "/slow":
            await self.go.wait()
        if scope["path"] == "/refused":
            refusal = {"status": 401, "headers": [(b"content-length", b"7"), (b"connection", b"close")]}
            await send({"type": "http.response.start", **refusal})
            await send({"type": "http.response.body", "body": b"refused"})
            return
        headers = {name.decode(): value.decode("latin-1").strip() for name, value in scope["headers"]}
        request = [scope["method"], scope["path"], body.decode("latin-1"), headers]
        answer = b"x" * HUGE if scope["path"] == "/large" else json.dumps(request).encode()
        length = str(len(answer)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": answer})


@dataclass
class Server:
    """A server with the protocol in this process, and its clients."""

    address: tuple[str, int]
    service: Service
    made: list[protocol.Protocol] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await connect(self.address)

    async def sees(self, number: int) -> None:
        """Wait until the service has got this many requests, and assert that it gets no more."""
        async with asyncio.timeout(60):
            while len(self.service.seen) < number:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        await turns()
        assert len(self.service.seen) == number

    async def ask(self, data: bytes) -> bytes:
        """Send `data`; return all bytes until the server closes or stops sending."""
        reader, writer = await self.connect()
        pieces: list[bytes] = []

        async def read() -> None:
            with suppress(ConnectionError):
                while piece := await reader.read(65536):
                    pieces.append(piece)

        reading = asyncio.create_task(read())
        writer.write(data)
        before = None
        while before != (before := (len(pieces), writer.transport.get_write_buffer_size())):
            for _ in range(40):
                if reading.done() or b"/last" in b"".join(pieces[-2:]):
                    break
                await turns(1)
        reading.cancel()
        writer.transport.abort()
        return b"".join(pieces)


async def answered(reader: asyncio.StreamReader) -> bytes:
    """Return all bytes until the server closes the connection."""
    async with asyncio.timeout(20):
        return await reader.read()


async def closed(server: Server, data: bytes) -> bytes:
    """Send `data`; return all bytes until the server closes the connection."""
    reader, writer = await server.connect()
    writer.write(data)
    answer = await answered(reader)
    writer.close()
    return answer


def run(
    work: Callable[[Server], Any],
    *cuts: int,
    every: int = 0,
    kind: Any = protocol.Protocol,
    state: dict[str, Any] | None = None,
    read: list[int] | None = None,
) -> None:
    """Run `work` with a server that receives data in pieces: cut at `cuts`, or into `every` bytes.

    `state` is the state of the application. The size of each read is appended to `read`.
    """
    app_state = state or {}

    class Cut(kind):  # type: ignore[misc] # known only at run time
        def data_received(self, data: bytes) -> None:
            if read is not None:
                read.append(len(data))
            places = range(0, len(data), every) if every else cuts
            for start, end in pairwise(sorted({0, len(data), *(c for c in places if c < len(data))})):
                raw: Any = getattr(self.transport, "transport", self.transport)  # our protocol wraps it
                if not raw.is_closing():  # like an event loop, which does not read any more then
                    super().data_received(data[start:end])

    async def serve() -> None:
        service, server_state = Service(), ServerState()
        config = uvicorn.Config(service, lifespan="off", log_config=None, ws="none")
        config.load()
        config.loaded_app = service  # without uvicorn's middleware
        made: list[protocol.Protocol] = []

        def make() -> protocol.Protocol:
            made.append(Cut(config, server_state, app_state))
            return made[-1]

        async with await asyncio.get_running_loop().create_server(make, sock=listening()) as server:
            try:
                await work(Server(server.sockets[0].getsockname(), service, made))
            finally:  # also after a failed assertion: a request that is still open would block the exit
                for each in made:
                    each.transport.abort()
                await asyncio.sleep(0)

    uvloop.run(serve())  # the event loop in production; test_limits.py uses asyncio's


def requests(answers: bytes) -> list[list[Any]]:
    """Return the requests in all 200 responses."""
    answers = answers.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answers.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    return [json.JSONDecoder().raw_decode(body.decode())[0] for body in bodies]


@pytest.fixture(params=[OURS, "h11", "zttp"])
def kind(request: pytest.FixtureRequest) -> Any:
    """The protocol class of each parser that must not parse a body as a request."""
    return protocol_of(request.param)


OFFERS = {
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "anything": b"cOnNeCtIoN: keep-alive, UPGRADE\r\nuPgRaDe: \xff/1 , x\r\nUpgrade:\r\n",
}
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
BODIES = {
    "length": b"Content-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    "expected": b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("body", BODIES)
def test_an_upgrade_is_ignored_and_its_body_is_not_a_request(offer: str, body: str, kind: Any) -> None:
    request = b"GET /first?a=b HTTP/1.1\r\n" + OFFERS[offer] + b"Host: x\r\n" + BODIES[body]

    async def work(server: Server) -> None:
        first, second, last = requests(await server.ask(request + request + GET.replace(b"second", b"last")))
        assert first[:3] == second[:3] == ["GET", "/first", SMUGGLED.decode()]
        assert "upgrade" not in first[3] or kind is not protocol.Protocol  # our protocol removes the field
        assert last[:3] == ["GET", "/last", ""]

    run(work, kind=kind)
    run(work, kind=kind, every=1)
    run(work, kind=kind, every=7)
    for cut in range(len(request) - len(BODIES[body]), len(request) + 1, 8):
        run(work, cut, kind=kind)


@pytest.mark.parametrize("line", [b"x:80 HTTP/1.1", b"/ HTTP/1.1", b"/ HTTP/1.0"])
def test_connect_is_refused_and_the_data_after_it_is_not_a_request(line: bytes) -> None:
    connect = b"CONNECT %b\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (line, len(GET))

    async def work(server: Server) -> None:
        answer = await server.ask(connect + GET)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer
        assert server.service.seen == []

    run(work)
    run(work, len(connect))
    run(work, every=1)


LINES = [
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"content-LENGTH:5 ",
    b"Content-Length: +5",
    b"Content-Length: -1",
    b"Content-Length: 5, 5",
    b"Content-Length:",
    b"Content-Length : 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:\tchunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"X-Empty:",
    b"X: a\r\n folded",
    b"X: a\nContent-Length: 5",
    b"X: \x00",
    b"X: \xff\t ",
    b"Up\r\ngrade: x",
    b"X-Upgrade: x",
    b"Host: x",
]
ENDS = [
    b"",
    b"12345",
    b"5\r\n12345\r\n0\r\n\r\n",
    b"5\r\n12345\r\n0\r\nA: b\r\n\r\n",
    b"1;" + b"x" * 90 + b"\r\n1\r\n",
]


def test_the_response_is_the_same_with_and_without_an_upgrade(kind: Any) -> None:
    chance = random.Random(7)

    async def work(server: Server) -> None:
        async def compare() -> None:
            lines = chance.choices(LINES, k=chance.randrange(4))
            start = chance.choice([b"GET /first HTTP/1.1", b"POST /early HTTP/1.1", b"GET /first HTTP/1.0"])
            end = b"\r\n\r\n" + chance.choice(ENDS) + GET.replace(b"second", b"last")
            offer = [b"Upgrade: x", b"Connection: Upgrade"]
            plain = b"\r\n".join([start, b"Connection: x", *lines]) + end
            for line in offer:
                lines.insert(chance.randrange(len(lines) + 1), line)
            offering = b"\r\n".join([start, *lines]) + end
            answers = await asyncio.gather(server.ask(plain), server.ask(offering))
            without, given = (
                [[*request[:3], request[3].get("x")] for request in requests(answer)] for answer in answers
            )
            assert given == without, offering
            assert answers[0].count(b"HTTP/1.1 400") == answers[1].count(b"HTTP/1.1 400"), offering

        for _ in range(5):
            await asyncio.gather(*(compare() for _ in range(30)))

    run(work, kind=kind)


@pytest.mark.parametrize("every", [0, 1])
def test_trailers_are_not_added_to_the_headers_of_any_request(every: int, kind: Any) -> None:
    head = b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n"
    trailers = b"Authorization: Bearer x\r\nConnection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n\r\n"

    async def work(server: Server) -> None:
        answer = await server.ask(head + trailers + GET.replace(b"second", b"last"))
        if kind.__name__ == "ZttpProtocol":  # refuses all trailers
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert server.service.seen == ["/first"]
            return
        first, last = requests(answer)
        assert first == ["POST", "/first", "x", {"host": "x", "transfer-encoding": "chunked"}]
        assert last[1:] == ["/last", "", {"host": "x"}]

    run(work, kind=kind, every=every)


CHUNKED = b"POST /first HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = {
    "one header": (431, b"GET /first HTTP/1.1\r\nX: " + b"x" * 70_000),
    "headers": (431, b"GET /first HTTP/1.1\r\n" + b"a:\r\n" * 17_000),
    "a head without end": (431, b"GET /first HTTP/1.1\r\n" + b"a:\r\n" * 1000),
    "101 headers": (431, b"GET /first HTTP/1.1\r\n" + b"a:b\r\n" * 101 + b"\r\n"),
    "the target": (414, b"GET /" + b"x" * 70_000),
    "empty lines": (400, b"\r\n" * 35_000),
    "one trailer": (400, CHUNKED + b"0\r\nX: " + b"x" * 70_000),
    "trailers": (431, CHUNKED + b"0\r\n" + b"a:\r\n" * 17_000),
    "an extension": (400, CHUNKED + b"1;" + b"x" * 70_000),
    "chunks": (400, CHUNKED + b"1;x\r\nx\r\n" * 12_000),
    "an offer": (431, b"GET /first HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\nX: " + b"x" * 70_000),
}


@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize("every", [0, 1000, 50_000])
def test_everything_except_bodies_is_limited(what: str, every: int) -> None:
    status, request = LONG[what]

    async def work(server: Server) -> None:
        answer = await closed(server, request)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer
        assert len(server.made[0].headers or []) <= MAX_FIELDS

    run(work, every=every)


def test_a_head_and_a_body_within_the_limits_are_served() -> None:
    head = b"POST /last HTTP/1.1\r\nX: %b\r\nContent-Length: 65536\r\n\r\n" % (b"x" * 60_000)

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        for _ in range(3):
            writer.write(head + b"\r\n" * 32_768)
            answer = await reader.readuntil(b"\r\n\r\n")
            (length,) = (
                int(line[16:]) for line in answer.split(b"\r\n") if line.startswith(b"content-length")
            )
            assert json.loads(await reader.readexactly(length))[2] == "\r\n" * 32_768
        writer.close()

    assert protocol.MAX_HEADER_BYTES == 65_536
    run(work)


def test_few_pipelined_requests_are_parsed_ahead_and_all_get_responses_in_order() -> None:
    many = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3000))

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n" + many)
        await server.sees(1)
        assert len(server.made[0].pipeline) < 40
        server.service.go.set()
        for number in range(-1, 3000):
            answer = await reader.readuntil(b"{}]")
            assert f'"/{number if number >= 0 else "slow"}"'.encode() in answer
            assert len(server.made[0].pipeline) < 40
        assert not server.made[0].flow.read_paused
        writer.write(GET)
        assert b"/second" in await reader.readuntil(b"}]")
        writer.close()

    run(work)


def test_a_client_that_does_not_read_its_response_gets_no_other() -> None:
    request = b"GET /large HTTP/1.1\r\n\r\n"

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(request * 20)
        await server.sees(1)
        writer.write(request * 1000)
        await server.sees(1)
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(HUGE)
        await server.sees(3)
        writer.transport.abort()

    run(work)


def test_the_unread_bytes_of_all_clients_are_bounded_and_clients_that_read_are_served() -> None:
    request = b"GET /large HTTP/1.1\r\n\r\n"

    async def work(server: Server) -> None:
        idle = []
        for _ in range(12):
            idle.append(await server.connect())
            idle[-1][1].write(request)
            reader, writer = await server.connect()
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(HUGE)
            writer.close()
            kept = [each for each in server.made if each.flow.write_paused]
            assert sum(each.unread for each in kept) <= protocol.MAX_UNREAD
        assert 1 < len(kept) <= protocol.MAX_UNREAD // HUGE
        for _, writer in idle:
            writer.transport.abort()

    run(work)


@pytest.mark.parametrize(
    "broken",
    [
        b"\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX:" + b"x" * 70_000,
    ],
    ids=["no request", "a bad header", "a tunnel", "a long head"],
)
def test_a_refusal_is_never_sent_as_the_response_to_an_earlier_request(broken: bytes, kind: Any) -> None:
    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + broken)
        await server.sees(1)
        server.service.go.set()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 400 ") <= 1  # after the response, or not at all
        writer.close()

    run(work, kind=kind)


@pytest.mark.parametrize("path", [b"/early", b"/first"])
def test_a_malformed_body_closes_the_connection_without_a_second_response(path: bytes, kind: Any) -> None:
    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
        await server.sees(1)
        answer = await reader.readuntil(b"}]") if path == b"/early" else b""
        writer.write(b"no size\r\n" + GET)
        answer += await reader.read()
        # After a response, zttp sends a 400 for the rest of the body.
        assert answer.count(b"HTTP/1.1 ") == 1 + (path == b"/early" and kind.__name__ == "ZttpProtocol")
        assert answer.startswith(b"HTTP/1.1 200 " if path == b"/early" else b"HTTP/1.1 400 ")
        assert server.service.seen == [path.decode()]
        writer.close()

    run(work, kind=kind)


def test_a_body_that_the_application_does_not_read_is_not_a_request(kind: Any) -> None:
    async def work(server: Server) -> None:
        early = b"GET /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED)
        answers = requests(await server.ask(early * 3 + GET.replace(b"second", b"last")))
        assert [request[1] for request in answers] == ["/early"] * 3 + ["/last"]

    run(work, kind=kind)
    run(work, kind=kind, every=1)


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
)
def test_nothing_is_served_after_a_last_request(first: bytes, kind: Any) -> None:
    async def work(server: Server) -> None:
        answer = await server.ask(first + GET * 100)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert server.service.seen == ["/"]

    run(work, kind=kind)
    run(work, len(first), kind=kind)
    run(work, kind=kind, every=3)


def test_empty_lines_do_not_keep_an_idle_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(GET)
        await reader.readuntil(b"}]")
        (timer,) = (each.timeout_keep_alive_task for each in server.made)
        writer.write(b"\r\n\r\n")
        await turns()
        assert timer is server.made[0].timeout_keep_alive_task
        assert timer is not None
        assert not timer.cancelled()
        writer.close()

    monkeypatch.setattr(protocol, "CLIENT_TIMEOUT", 0.3)
    run(work)


@pytest.mark.parametrize(
    "preface", [b"\x16\x03\x01\x02\x00", b"GET /\x00 HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n\r\n"]
)
def test_another_protocol_is_refused(preface: bytes, kind: Any) -> None:
    async def work(server: Server) -> None:
        assert (await server.ask(preface + GET)).count(b"HTTP/1.1 400 ") == 1
        assert server.service.seen == []

    run(work, kind=kind)


@pytest.mark.parametrize(
    "line",
    [
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/3.0",
        b"GET / http/1.1",
        b"GET / RTSP/1.0",
        b"POST / RTSP/1.1",
        b"OPTIONS * RTSP/2.0",
        b"DESCRIBE / RTSP/1.0",
        b"SOURCE / ICE/1.0",
        b"GET / ICE/1.0",
        b"GET / SHTTP/1.1",
    ],
)
@pytest.mark.parametrize("before", [b"", GET])
@pytest.mark.parametrize("every", [0, 1, 7])
def test_another_version_or_protocol_than_http_1_is_505(line: bytes, before: bytes, every: int) -> None:
    async def work(server: Server) -> None:
        answer = await closed(server, before + line + b"\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert server.service.seen == ["/second"] * bool(before)
        if not before:
            assert answer.startswith(b"HTTP/1.1 505 ")
            assert b"\r\nconnection: close\r\n" in answer

    run(work, every=every)


def test_the_name_of_another_protocol_is_allowed_in_paths_and_headers() -> None:
    head = b"POST /last HTTP/1.1\r\nReferer: / RTSP/1.0 ICE/1.0\r\nContent-Length: 9\r\n\r\n"

    async def work(server: Server) -> None:
        ((_, path, body, _),) = requests(await server.ask(head + b" RTSP/1.0"))
        assert (path, body) == ("/last", " RTSP/1.0")

    run(work)
    run(work, every=1)


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://x", "/"), (b"http://x:80?a=/b", "/"), (b"HTTP://x/p?q", "/p"), (b"https://[::1]:8/p", "/p")],
)
@pytest.mark.parametrize("every", [0, 1])
def test_the_absolute_form_is_served(target: bytes, path: str, every: int) -> None:
    async def work(server: Server) -> None:
        ((_, seen, *_),) = requests(await server.ask(b"GET %b HTTP/1.1\r\nHost: y\r\n\r\n" % target))
        assert seen == path

    run(work, every=every)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/first#x", 400),  # some proxies would use another path
        (b"/first?x#y", 400),
        (b"http://x#/first", 400),
        (b"/" + b"%41/" * 1_200, 404),
        (b"/first/" + b"%" * 17, 404),  # decoding many invalid escapes is expensive
        (b"/" + b"%4x" * 1_000, 404),
        (b"http://x/" + b"a%" * 1_000, 404),
        (b"http://" + b"x" * 4_090 + b"/first", 404),
        (b"ftp://x/first", 400),
        (b"http://user:password@x/first", 400),
        (b"https://x:65536/first", 400),
        (b"http://[x]/first", 400),
    ],
)
def test_an_impossible_target_is_refused_before_it_is_decoded(target: bytes, status: int) -> None:
    async def work(server: Server) -> None:
        answer = await closed(server, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert server.service.seen == []

    run(work)
    run(work, every=100)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /%d?%b HTTP/1.1\r\nno field\r\n\r\n",
        b"GET /%d?%b RTSP/1.0\r\n\r\n",
        b"GET /first?%d%b HTTP/1.1\r\nConnection: close\r\nReferer: / RTSP/1.0\r\n\r\n",
    ],
)
def test_no_target_is_cached(head: bytes) -> None:
    """A target was compiled to a regular expression, which was cached in ten times the memory."""

    async def work(server: Server) -> None:
        async def ask(number: int) -> None:
            await closed(server, head % (number, b"x" * 8000))
            server.made.clear()

        tracemalloc.start()
        try:
            await ask(0)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for number in range(1, 11):
                await ask(number)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 10 * 8000
        finally:
            tracemalloc.stop()

    run(work)


def test_malformed_requests_are_logged_and_counted() -> None:
    seen: list[tuple[str, int]] = []

    async def work(server: Server) -> None:
        for data in (b"\x00", b"GET / HTTP/1.2\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 102):
            answer = await closed(server, data)
            assert b"\r\ncontent-type: application/problem+json\r\n" in answer
            assert b"\r\nx-request-id: " in answer
        assert (await closed(server, b"HEAD / HTTP/1.2\r\n\r\n")).endswith(b"\r\n\r\n")
        assert seen == [("-", 400), ("-", 505), ("-", 431), ("-", 505)]

    def observe(exchange: Exchange, status: int, _: float) -> None:
        seen.append((exchange.method, status))

    run(work, state={"services": SimpleNamespace(observers=(observe,))})


def test_a_client_that_half_closes_gets_its_responses() -> None:
    request = b"POST /slow HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"

    async def work(server: Server) -> None:
        for data, number in ((request, 1), (request + GET, 2), (request + b"GET / HTT", 1)):
            server.service.seen.clear()
            server.service.go.clear()
            reader, writer = await server.connect()
            writer.write(data)
            await server.sees(1)
            writer.write_eof()
            await asyncio.sleep(0)
            server.service.go.set()
            answer = await answered(reader)
            assert [each[1] for each in requests(answer)] == ["/slow", "/second"][:number]
            writer.close()

    run(work)


@pytest.mark.parametrize(
    "data", [b"", b"GET /fir", b"POST /first HTTP/1.1\r\nContent-Length: 2\r\n\r\n{", GET]
)
def test_a_client_that_half_closes_without_a_request_is_disconnected(data: bytes) -> None:
    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(data)
        if data == GET:
            await reader.readuntil(b"}]")
        writer.write_eof()
        assert await answered(reader) == b""
        writer.close()

    run(work)


@pytest.mark.parametrize("kind", [b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"])
def test_after_a_response_that_closes_only_a_part_of_the_body_is_read(kind: bytes) -> None:
    piece = b"ffff\r\n" + b"x" * 65535 + b"\r\n"
    read: list[int] = []

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST /refused HTTP/1.1\r\n%b\r\n\r\n" % kind)
        answer = await reader.readuntil(b"refused")
        assert b"\r\nconnection: close\r\n" in answer
        with suppress(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    writer.write(piece)
                    await writer.drain()
        assert sum(read) <= protocol.MAX_DRAINED + 2**20  # plus one read of the event loop
        writer.transport.abort()

    run(work, read=read)


def test_a_client_that_sends_its_whole_body_gets_the_refusal() -> None:
    async def work(server: Server) -> None:
        for _ in range(20):
            reader, writer = await server.connect()
            writer.write(b"POST /refused HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
            await server.sees(1)
            writer.write(b"x" * 100_000)
            writer.write_eof()
            assert (await answered(reader)).endswith(b"refused")
            server.service.seen.clear()
            writer.close()

    run(work)


def test_a_connection_that_is_reset_leaves_no_timer_that_keeps_its_memory() -> None:
    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(GET)
        await reader.readuntil(b"/second")
        (made,) = server.made
        while made.timeout_keep_alive_task is None:
            await turns(1)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        async with asyncio.timeout(60):
            while made in made.connections:
                await turns(1)
        assert made.timeout_keep_alive_task is None

    run(work)
