"""The headers of every response, and CORS."""

import re

import httpx
import pytest
from conftest import Api, Person
from support.contract import ask, assert_headers, assert_problem, tasks_of

from app.api.edge import Origins

OURS = ("Origin", "http://localhost:3000")
EXPOSED = {"etag", "link", "location", "retry-after", "x-request-id", "x-total-count", "idempotency-replayed"}
EXPOSED |= {"www-authenticate"}
SENDABLE = {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "x-request-id"}

METHODS = {"get", "head", "post", "put", "patch", "delete"}

# A request for each status that does not need a broken database: method, path, whether it has a token, body.
ANSWERS = {
    200: ("GET", "{tasks}", True, None),
    201: ("POST", "{tasks}", True, b'{"title": "x"}'),
    204: ("DELETE", "{tasks}/1", True, None),
    304: ("GET", "{tasks}/1", True, None),
    400: ("POST", "{tasks}", True, b"{"),
    401: ("GET", "{tasks}", False, None),
    403: ("GET", "/api/bob/tasks", True, None),
    404: ("GET", "/nothing", False, None),
    405: ("DELETE", "/health", False, None),
    412: ("DELETE", "{tasks}/1", True, None),
    413: ("POST", "{tasks}", True, b" " * 70_000),
    414: ("GET", "/nothing?" + "x" * 8193, False, None),
    422: ("POST", "{tasks}", True, b"{}"),
}
CONDITIONS = {304: [("If-None-Match", "*")], 412: [("If-Match", '"0"')]}
ANSWER = pytest.mark.parametrize("status", ANSWERS)


def answer(api: Api, alice: Person, status: int, *headers: tuple[str, str]) -> httpx.Response:
    """Send the request for this status; return the response."""
    alice.create()
    method, path, token, body = ANSWERS[status]
    given = ask(
        api,
        method,
        path.format(tasks=tasks_of(alice.name)),
        token=alice.token if token else None,
        headers=[*headers, *CONDITIONS.get(status, [])],
        body=body,
    )
    assert given.status_code == status
    return given


def items(value: str) -> set[str]:
    return {item.strip().lower() for item in value.split(",")}


def cors(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


@ANSWER
def test_every_response_has_the_common_headers(api: Api, alice: Person, status: int) -> None:
    given = answer(api, alice, status)
    assert_headers(given)
    assert re.fullmatch("[0-9a-f]{32}", given.headers["x-request-id"])
    assert cors(given) == set()
    expected = "no-store" if status >= 400 else "private, no-cache"
    assert given.headers.get_list("cache-control") == [expected]
    assert "server" not in given.headers


@ANSWER
def test_every_response_has_the_request_id_of_the_client(api: Api, alice: Person, status: int) -> None:
    given = answer(api, alice, status, ("X-Request-ID", "My.id_-7"))
    assert given.headers.get_list("x-request-id") == ["My.id_-7"]


@ANSWER
def test_an_allowed_origin_may_read_every_response(api: Api, alice: Person, status: int) -> None:
    given = answer(api, alice, status, OURS)
    assert_headers(given)
    assert given.headers.get_list("access-control-allow-origin") == [OURS[1]]
    assert given.headers.get_list("access-control-allow-credentials") == ["true"]
    assert items(given.headers["access-control-expose-headers"]) == EXPOSED


@ANSWER
def test_another_origin_may_read_no_response(api: Api, alice: Person, status: int) -> None:
    given = answer(api, alice, status, ("Origin", "https://evil.example"))
    assert_headers(given)
    assert cors(given) == set()


@pytest.mark.parametrize("given", ["x", "a" * 128, "A-Z_0.9", "...", "0"])
def test_a_valid_request_id_is_kept(api: Api, given: str) -> None:
    assert ask(api, "GET", "/health", headers=[("X-Request-ID", given)]).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "a" * 129, "a b", "a\tb", "é", "a/b", "a,b", '"a"', "a;b", "<script>", "a:b"]
)
def test_an_invalid_request_id_is_replaced(api: Api, given: str) -> None:
    made = ask(api, "GET", "/health", headers=[("X-Request-ID", given)]).headers.get_list("x-request-id")
    assert len(made) == 1
    assert re.fullmatch("[0-9a-f]{32}", made[0])


def test_every_request_id_is_new(api: Api) -> None:
    assert len({ask(api, "GET", "/health").headers["x-request-id"] for _ in range(20)}) == 20


FOREIGN = [
    *(
        "https://localhost:3000",
        "http://localhost",
        "http://localhost:30000",
        "http://localhost:3000.evil.example",
    ),
    *(
        "null",
        "*",
        "",
        "http://LOCALHOST:3000",
        "http://localhost:3000/",
        "http://evil.example/http://localhost:3000",
    ),
    *("http://localhost:3000, https://evil.example", "é"),
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_an_origin_similar_to_an_allowed_one_is_not_allowed(api: Api, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        wanted = [("Origin", origin), ("Access-Control-Request-Method", "GET")]
        given = ask(api, method, "/health", headers=wanted)
        assert_headers(given)
        assert cors(given) == set()


def preflight(
    api: Api, path: str, origin: str, method: str = "GET", fields: str | None = ",".join(sorted(SENDABLE))
) -> httpx.Response:
    wanted = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if fields is not None:
        wanted.append(("Access-Control-Request-Headers", fields))
    return ask(api, "OPTIONS", path, headers=wanted)


@pytest.mark.parametrize(
    "path", ["/api/alice/tasks", "/api/a%2Fb/tasks/1", "/api/alice/tasks/1/complete", "/health"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_an_allowed_origin_may_send_every_method_and_header(api: Api, path: str, method: str) -> None:
    given = preflight(api, path, OURS[1], method)
    assert (given.is_success, given.content) == (True, b"")
    assert_headers(given)
    assert given.headers["access-control-allow-origin"] == OURS[1]
    assert given.headers["access-control-allow-credentials"] == "true"
    assert items(given.headers["access-control-allow-methods"]) == METHODS
    assert items(given.headers["access-control-allow-headers"]) == SENDABLE


@pytest.mark.parametrize(
    "fields",
    [
        "traceparent",
        "sentry-trace,baggage",
        "cache-control, X-Requested-With ,pragma",
        ",".join(["x-y"] * 999),
    ],
)
def test_an_allowed_origin_may_send_every_field_that_its_preflight_names(api: Api, fields: str) -> None:
    given = preflight(api, "/api/alice/tasks", OURS[1], fields=fields)
    assert (given.status_code, items(given.headers["access-control-allow-headers"])) == (204, items(fields))


@pytest.mark.parametrize("fields", [None, "", "a b", "x\xff", "a,,b", "<x>", "x" * 5_000])
def test_an_invalid_list_of_fields_is_not_reflected(api: Api, fields: str | None) -> None:
    given = preflight(api, "/api/alice/tasks", OURS[1], fields=fields)
    assert items(given.headers["access-control-allow-headers"]) == SENDABLE


PATTERNS = "https://*.example.app,https://pr-*.example.org:8443,http://localhost:3000"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.app", True),
        ("https://a-1--b.example.app", True),
        ("https://pr-7.example.org:8443", True),
        ("http://localhost:3000", True),
        ("https://example.app", False),
        ("https://.example.app", False),
        ("https://-.example.app", False),  # not a host name
        ("https://-a.example.app", False),
        ("https://a-.example.app", False),
        ("https://pr-a-.example.org:8443", False),
        ("https://pr--a.example.org:8443", True),
        ("https://a.b.example.app", False),
        ("http://a.example.app", False),
        ("https://a.example.app:444", False),
        ("https://a.exampleXapp", False),
        ("https://a.example.app.evil.example", False),
        ("https://evil.example/.example.app", False),
        ("https://A.example.app", False),
        ("https://a.example.app\n", False),
        ("https://*.example.app", False),
        ("https://pr-.example.org:8443", False),
        ("https://pr-7.example.org", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_pattern_matches_one_label_of_a_host_name(origin: str, allowed: bool) -> None:
    assert (origin in Origins(PATTERNS.split(","))) is allowed
    assert origin not in Origins([])


def test_the_preflight_of_a_foreign_origin_allows_nothing(api: Api) -> None:
    given = preflight(api, "/api/alice/tasks", "https://evil.example")
    assert_headers(given)
    assert cors(given) == set()
    assert given.content == b""


def test_a_preflight_has_the_request_id_of_the_client(api: Api) -> None:
    headers = [OURS, ("Access-Control-Request-Method", "PUT"), ("X-Request-ID", "flight")]
    assert ask(api, "OPTIONS", "/api/x/tasks", headers=headers).headers["x-request-id"] == "flight"


@pytest.mark.parametrize("headers", [[], [OURS], [("Access-Control-Request-Method", "GET")]])
def test_options_without_a_preflight_is_not_allowed(api: Api, headers: list[tuple[str, str]]) -> None:
    given = ask(api, "OPTIONS", "/api/alice/tasks", headers=headers)
    assert_problem(given, 405)
    assert items(given.headers["allow"]) == {"get", "head", "post"}


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_upgrade_to_an_unsupported_protocol_is_ignored(api: Api, protocol: str) -> None:
    wanted = [("Connection", "Upgrade"), ("Upgrade", protocol), ("Sec-WebSocket-Version", "13")]
    wanted.append(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    assert ask(api, "GET", "/health", headers=wanted).json()["status"] == "healthy"
    assert_problem(ask(api, "GET", "/api/alice/tasks", headers=wanted), 401)
