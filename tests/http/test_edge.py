"""Strict HTTP: malformed requests are refused and the connection is closed; tested by socket and by scope."""

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import Api, Person, Server, on_18, serving
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Scope
from support.contract import ask, assert_problem, tasks, tasks_of
from support.parsers import OURS, PARSERS, available

from app.api.edge import is_authority
from app.main import create_app

BODY = b'{"title": "x"}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


OTHERS: set[str] = set()  # URLs of the APIs with a parser other than ours


@pytest.fixture(scope="module", params=PARSERS)
def api(request: pytest.FixtureRequest, server: Server, database: str) -> Iterator[Api]:
    """An API with each HTTP parser."""
    parser = available(request.param)
    with serving(server.conninfo(database, "tasks_api"), 1, 60, POOL_SIZE="4", PARSER=parser) as running:
        if parser != OURS:
            OTHERS.add(running.url)
        yield running


LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: last\r\nConnection: close\r\n\r\n"


def raw(api: Api, data: bytes) -> tuple[int, bytes]:
    """Send `data`; return the status of the first response, and all responses.

    With our parser the client half-closes. The others do not answer a client that has half-closed, so there a
    last request ends the connection. Its response is left out. The others also refuse some malformed requests
    themselves, with 400 in plain text (see "HTTP parsers" in app/server/README.md).
    """
    parts, ours = urlsplit(api.url), api.url not in OTHERS
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(data if ours else data + LAST)
        if ours:
            connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if b"\r\nx-request-id: last\r\n" in answer:
        answer = answer[: answer.rindex(b"HTTP/1.1 200 OK\r\n")]
    return int(answer.split(b" ")[1]), answer


def post(person: Person, *lines: bytes, version: bytes = b"1.1", body: bytes = BODY) -> bytes:
    """Return a request that would create a task, with these additional header lines."""
    start = b"POST %b HTTP/%b" % (tasks_of(person.name).encode(), version)
    token = b"Authorization: Bearer " + person.token.encode()
    return b"\r\n".join([start, token, *lines, b"", body])


ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LENGTH = b"Content-Length: %d" % len(BODY)
HOST = b"Host: x"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Host:"],
        [b"Host: \t "],
        [b"Host: x", b"Host: x"],
        [b"Host: x", b"X: y", b"hOST: y"],
        [b"Host: x y"],
        [b"Host: x, y"],
        [b"Host: http://x"],
        [b"Host: x/"],
        [b"Host: user@x"],
        [b"Host: x:y"],
        [b"Host: x:1:2"],
        [b"Host: x:65536"],
        [b"Host: x:-1"],
        [b"Host: ::1"],
        [b"Host: [::1"],
        [b"Host: [x]"],
        [b"Host: [1::2::3]"],
        [b"Host: %zz"],
        [b"Host: \xc3\xa9"],
        [b"Host: x?y"],
        [b"Host: x#y"],
        [b"Host: x\\y"],
        [b'Host: "x"'],
        [b"Host: <x>"],
        [b"Host: " + b"x" * 256],
    ],
)
def test_a_request_without_exactly_one_host_is_refused(api: Api, alice: Person, lines: list[bytes]) -> None:
    status, answer = raw(api, post(alice, *lines, LENGTH))
    assert status == 400
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert b'"detail": ' in answer or api.url in OTHERS
    assert tasks(alice) == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"x",
            b"x:80",
            b"x:",
            b"x:65535",
            b"  x:1\t",
            b"example.com.",
            b"my_host",
            b"LOCALHOST:8000",
            b"%41",
        ),
        *(b"127.0.0.1", b"[::1]", b"[::1]:8000", b"[::ffff:1.2.3.4]", b"xn--bcher-kva.example", b"a~b-c.d"),
    ],
)
def test_any_host_is_served(api: Api, host: bytes) -> None:
    assert raw(api, b"GET /health HTTP/1.1\r\nHost: %b\r\n\r\n" % host)[0] == 200


def test_http_1_0_allows_no_host_or_one(api: Api) -> None:
    assert raw(api, b"GET /health HTTP/1.0\r\n\r\n")[0] == 200
    assert raw(api, b"GET /health HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n")[0] == 400


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Transfer-Encoding: chunked"], 201),
        ([b"Transfer-Encoding:  CHUNKED "], 201),
        ([b"Transfer-Encoding: gzip, chunked"], 501),
        ([b"Transfer-Encoding: gzip"], 501),
        ([b"Transfer-Encoding: identity"], 501),
        ([b"Transfer-Encoding: chunked, gzip"], 501),
        ([b"Transfer-Encoding: chunked, chunked"], 501),
        ([b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"], 501),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: deflate"], 501),
        ([b"Transfer-Encoding: chunked;q=1"], 501),
        ([b"Transfer-Encoding: xchunked"], 501),
        ([b"Transfer-Encoding: \x0bchunked"], 400),
        ([b"Transfer-Encoding: chunked", LENGTH], 400),
        ([LENGTH, b"Transfer-Encoding: chunked"], 400),
        ([b"Content-Length: +15"], 400),
        ([LENGTH, LENGTH], 400),
    ],
)
def test_the_only_transfer_coding_is_chunked(
    api: Api, alice: Person, lines: list[bytes], status: int
) -> None:
    given, answer = raw(api, post(alice, HOST, *lines, body=CHUNKED))
    assert given == status or (given == 400 and status == 501 and api.url in OTHERS)
    assert status == 201 or b"\r\nconnection: close\r\n" in answer.lower()
    assert len(tasks(alice)) == (status == 201)


def test_http_1_0_has_no_transfer_coding(api: Api, alice: Person) -> None:
    chunked = post(alice, HOST, b"Transfer-Encoding: chunked", version=b"1.0", body=CHUNKED)
    assert raw(api, chunked)[0] == 400
    assert tasks(alice) == []


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "x", "identity, gzip", "GZIP"])
@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")])
def test_a_body_with_a_coding_is_refused(
    api: Api, alice: Person, method: str, path: str, coding: str
) -> None:
    alice.create()
    headers = [("Content-Encoding", coding)]
    target = tasks_of(alice.name) + path
    answer = ask(api, method, target, token=alice.token, headers=headers, body=BODY)
    assert_problem(answer, 415, "Content-Encoding")
    assert answer.headers["accept-encoding"] == "identity"
    assert_problem(ask(api, method, target, headers=headers, body=BODY), 401)
    assert [task["version"] for task in tasks(alice)] == [1]


def test_the_coding_identity_is_accepted(api: Api, alice: Person) -> None:
    target = tasks_of(alice.name)
    for coding in ("identity", "Identity", "", "identity, identity"):
        headers = [("Content-Encoding", coding)]
        assert ask(api, "POST", target, token=alice.token, headers=headers, body=BODY).status_code == 201
    headers = [("Content-Encoding", "gzip")]
    assert ask(api, "PATCH", f"{target}/1/complete", token=alice.token, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["", "/1", "?limit=1&count=true", "/2", "/x"])
def test_head_returns_the_headers_of_get_without_the_body(api: Api, alice: Person, path: str) -> None:
    alice.create()
    alice.create()
    alice.client.delete("/tasks/2")
    target = tasks_of(alice.name) + path
    asked = [("X-Request-ID", "same")]
    get, head = (ask(api, method, target, token=alice.token, headers=asked) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    names = set(get.headers) - {"date"}
    assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


@pytest.mark.parametrize(
    "target", ["/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/health", "/ready"]
)
def test_every_route_that_has_get_has_head(api: Api, target: str) -> None:
    get, head = (ask(api, method, target) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_head_is_refused_if_get_is(api: Api, alice: Person) -> None:
    target = tasks_of(alice.name)
    assert ask(api, "HEAD", target).status_code == 401
    assert ask(api, "HEAD", "/api/bob/tasks", token=alice.token).status_code == 403
    changed = ask(api, "HEAD", f"{target}/1/complete", token=alice.token)
    assert (changed.status_code, changed.headers["allow"]) == (405, "PATCH")


def test_a_connection_stays_open_after_head(api: Api) -> None:
    head = b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n"
    _, answer = raw(api, head * 3 + head.replace(b"HEAD", b"GET"))
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.count(b"healthy") == 1


@pytest.mark.parametrize(
    "lines", [[], [b"Content-Length: 0"], [b"Origin: x", b"Access-Control-Request-Method: GET"]]
)
def test_options_for_the_whole_server_lists_all_methods(api: Api, lines: list[bytes]) -> None:
    """RFC 9110, section 9.3.7."""
    request = b"\r\n".join([b"OPTIONS * HTTP/1.1", HOST, *lines, b"", b""])
    status, answer = raw(api, request * 2)
    assert status == 204
    assert answer.count(b"\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n") == 2
    assert answer.count(b"\r\nx-request-id: ") == 2
    assert raw(api, request.replace(b"OPTIONS", b"GET"))[0] == 404
    assert raw(api, request.replace(HOST, b"X: y"))[0] == 400


def test_the_user_and_the_id_in_a_path_may_be_percent_encoded(api: Api, alice: Person) -> None:
    alice.create()
    encoded = "".join(f"%{byte:02x}" for byte in alice.name.encode())
    answer = ask(api, "GET", f"/api/{encoded}/tasks/%31", token=alice.token)
    assert (answer.status_code, answer.json()["id"]) == (200, 1)


def test_a_path_with_the_longest_user_id_is_accepted(api: Api) -> None:
    name = "\U0001f600" * 255
    answer = ask(api, "PATCH", f"{tasks_of(name)}/{2**63 - 1}/complete", token=api.token(name))
    assert_problem(answer, 404, "Task not found")


@pytest.mark.parametrize(
    ("lines", "closes"),
    [
        ([b"Content-Length: 65536"], False),
        ([b"Content-Length: 65537"], True),
        ([b"Content-Length: 100000000000"], True),
        ([b"Transfer-Encoding: chunked"], True),
        ([LENGTH, b"Expect: 100-continue"], True),
    ],
)
@pytest.mark.parametrize("target", [b"/api/x/tasks", b"/nothing", b"/health"])
def test_a_large_body_that_is_not_read_closes_the_connection(
    api: Api, lines: list[bytes], closes: bool, target: bytes
) -> None:
    body = b"" if closes else b"x" * 65536
    for method in (b"POST", b"GET"):
        _, answer = raw(api, b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), HOST, *lines, b"", body]))
        assert (b"\r\nconnection: close\r\n" in answer) is closes


def test_a_chunked_body_that_was_read_keeps_the_connection(api: Api, alice: Person) -> None:
    request = post(alice, HOST, b"Transfer-Encoding: chunked", body=CHUNKED)
    assert raw(api, request * 2)[1].count(b"HTTP/1.1 201 ") == 2


HOSTED = (b"host", b"x")


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("1.1", [HOSTED], 200),
        ("2", [HOSTED], 200),
        ("1.1", [], 400),
        ("1.1", [HOSTED, HOSTED], 400),
        ("2.0", [HOSTED], 505),
        ("1.2", [HOSTED], 505),
        ("0.9", [HOSTED], 505),
        ("1.1", [HOSTED, *[(b"a", b"")] * 99], 200),
        ("1.1", [HOSTED, *[(b"a", b"")] * 100], 431),
        ("1.1", [HOSTED, (b"transfer-encoding", b"gzip"), (b"transfer-encoding", b"chunked")], 501),
        ("1.1", [HOSTED, (b"transfer-encoding", b"chunked"), (b"content-length", b"1")], 400),
    ],
)
def test_malformed_requests_are_refused_by_the_scope_with_any_server(
    version: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {"type": "http", "http_version": version, "method": "GET", "path": "/health"}
    scope["raw_path"], scope["query_string"], scope["headers"] = b"/health", b"", headers
    asyncio.run(_call(create_app(), scope, receive, send))
    assert sent[0]["status"] == status
    assert ((b"connection", b"close") in {(name.lower(), value) for name, value in sent[0]["headers"]}) is (
        status != 200
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_scope_of_the_server_keeps_its_path_and_gets_the_route(method: str) -> None:
    """If the app changed the scope's path, uvicorn's access log would raise UnicodeEncodeError.

    Middleware around the app, such as Sentry's, names a request by the route.
    """
    scope: Scope = {"type": "http", "http_version": "1.1", "method": method, "path": "/api/a/b/tasks"}
    scope["raw_path"], scope["query_string"], scope["headers"] = b"/api/a%2Fb/tasks", b"", [HOSTED]
    statuses: list[int] = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    asyncio.run(_call(create_app(), scope, None, send))
    assert statuses[0] == 401
    assert (scope["path"], scope["method"]) == ("/api/a/b/tasks", method)
    assert scope["route"].path == "/api/{user_id}/tasks"


def test_instrumentation_around_the_application_sees_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentry replaces Starlette.__call__, and OpenTelemetry replaces the method build_middleware_stack."""
    seen: list[str] = []

    def observe(name: str, app: Any) -> ASGIApp:
        async def call(*arguments: Any) -> None:
            seen.append(name)
            await app(*arguments)

        return call

    async def send(_: Message) -> None:
        pass

    monkeypatch.setattr(Starlette, "__call__", observe("call", Starlette.__call__))
    app = create_app()
    build = app.build_middleware_stack
    monkeypatch.setattr(app, "build_middleware_stack", lambda: observe("stack", build()))
    scope: Scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/health"}
    scope["raw_path"], scope["query_string"], scope["headers"] = b"/health", b"", [HOSTED]
    for _ in range(2):  # the first request builds the stack
        asyncio.run(_call(app, dict(scope), None, send))
    assert seen == ["call", "stack"] * 2


class Spans(trace.TracerProvider, trace.Tracer, trace.NonRecordingSpan):
    """Records the names of spans."""

    def __init__(self) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self.names: list[str] = []

    def get_tracer(self, *_: object, **__: object) -> trace.Tracer:
        return self

    def start_span(self, *_: object, **__: object) -> trace.Span:
        return self

    def update_name(self, name: str) -> None:
        self.names.append(name)

    start_as_current_span = trace.NoOpTracer().start_as_current_span


@pytest.mark.parametrize("variable", ["OTEL_SERVICE_NAME", "FASTAPI_OTEL_AUTO_CONFIGURE", None])
def test_fastapi_traces_requests_if_a_variable_of_opentelemetry_is_set(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    spans = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans)
    if variable:
        monkeypatch.setenv(variable, "tasks")

    async def ask() -> None:
        transport = httpx.ASGITransport(create_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://tasks") as client:
            assert (await client.get("/api/a%2Fb/tasks/7?search=x")).status_code == 401
            assert (await client.get("/health")).status_code == 200

    asyncio.run(ask())
    assert spans.names == (["GET /api/{user_id}/tasks/{task_id}", "GET /health"] if variable else [])


def test_a_very_long_host_is_not_cached() -> None:
    before = is_authority.cache_info().misses
    test_malformed_requests_are_refused_by_the_scope_with_any_server("1.1", [(b"host", b"x" * 60_000)], 400)
    assert is_authority.cache_info().misses == before


async def _call(app: Any, scope: Scope, receive: Any, send: Any) -> None:
    await app(scope, receive, send)


@on_18
def test_malformed_requests_and_unknown_methods_are_logged_and_counted_with_one_label(
    server: Server, database: str
) -> None:
    with serving(server.conninfo(database, "tasks_api"), METRICS="true") as api:
        before = ask(api, "GET", "/metrics").text
        for method in ("PROPFIND", "PURGE", "TRACE", "LINK", "M-SEARCH"):
            for target in ("/nothing", "/health", "/api/x/tasks", "/api/x/tasks/1"):
                assert ask(api, method, target).status_code in (404, 405)
        for data, status in (
            (b"\0", 400),
            (b"FOO / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.7\r\n\r\n", 505),
        ):
            assert raw(api, data)[0] == status
        after = ask(api, "GET", "/metrics").text
        methods = {re.search('method="([^"]*)"', line) for line in after.splitlines()} - {None}
        assert {found[1] for found in methods if found} <= {*ALL_METHODS, "-"}
        assert 'tasks_requests_total{method="-",route="-",status="400"} 2.0' in after
        assert 'tasks_requests_total{method="-",route="-",status="505"} 1.0' in after
        assert len(after) < len(before) + 10_000
        log = api.log_up_to(": - - 505 in ")
    assert len(re.findall(": - - 400 in ", log)) == 2
    assert len(re.findall(": - - 505 in ", log)) == 1
