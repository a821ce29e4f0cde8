"""Every refused request gets a problem response of the contract's form, and changes nothing."""

import json
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import Api, Person
from pydantic import TypeAdapter, ValidationError
from support.contract import ask, assert_invalid, assert_problem, assert_task, tasks, tasks_of

from app.api.schemas import TaskCreate

# Every request with a body: method, and path below /tasks.
WRITES = [("POST", ""), ("PUT", "/1"), ("PATCH", "/1"), ("PATCH", "/1/complete")]
WRITE = pytest.mark.parametrize(("method", "path"), WRITES)
TOO_MUCH = 65536 + 1


@pytest.fixture
def task(alice: Person) -> Any:
    """Alice's only task."""
    return alice.create("Buy milk")


def send(person: Person, method: str, path: str, body: bytes | str) -> httpx.Response:
    return person.client.request(method, f"/tasks{path}", content=body)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"{",
            b"[1,",
            b'{"title": "x"',
            b"{'title': 'x'}",
            b'{"title": "x",}',
            b"title=x",
            b"<task/>",
            b"x",
        ),
        *(
            b'{"title": "x"} {}',
            b'{"title": NaN}',
            b'{"priority": NaN}',
            b'{"x": Infinity}',
            b'{"x": -Infinity}',
        ),
        *(b"NaN", b'{"title": "\xff"}', b'\xef\xbb\xbf{"title": "x"}', '{"title": "x"}'.encode("utf-16")),
        *(b'{"title": "\xed\xa0\x80"}', b'{"title": "a\nb"}', b'{"title": "a\x00b"}', b"\x00", b"\xc2\xa0"),
        *(b'{"title": "\\x41"}', b'{"title": "\\u12"}', b'{"x": 01}', b'{"x": .5}', b"{} // none", b"\x0c"),
    ],
)
def test_a_body_that_is_not_json_is_refused(alice: Person, task: Any, body: bytes) -> None:
    for method, path in WRITES:
        assert_problem(send(alice, method, path, body), 400, "JSON")
    assert tasks(alice) == [task]


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t"])
def test_an_empty_body_is_refused_if_one_is_required(alice: Person, task: Any, body: bytes) -> None:
    for method, path in WRITES[:3]:
        assert_problem(send(alice, method, path, body), 400, "JSON")
    assert tasks(alice) == [task]


@pytest.mark.parametrize("body", ["null", "true", "7", '"x"', "[]", '[{"title": "x"}]', '[["title", "x"]]'])
def test_a_body_that_is_not_an_object_is_refused(alice: Person, task: Any, body: str) -> None:
    for method, path in WRITES:
        assert_invalid(send(alice, method, path, body), "body")
    assert tasks(alice) == [task]


@pytest.mark.parametrize("body", ["[" * 60_000, '{"a":' * 12_000, "[" * 30_000 + "]" * 30_000])
def test_very_deep_nesting_is_refused(alice: Person, task: Any, body: str) -> None:
    for method, path in WRITES:
        assert_invalid(send(alice, method, path, body), "body")
    assert tasks(alice) == [task]


@pytest.mark.parametrize("depth", [10, 900, 5_000, 10_000, 10_900])
def test_an_unknown_member_may_be_nested_or_is_refused(alice: Person, depth: int) -> None:
    alice.create("x")
    body = '{"title": "x", "completed": false, "labels": ' + "[" * depth + "]" * depth + "}"
    for method, path in WRITES:
        answer = send(alice, method, path, body)
        if answer.is_error:
            assert depth > 500
            assert_invalid(answer, "body")
        else:
            assert_task(answer, 201 if method == "POST" else 200)


TITLES = [
    *(
        "null",
        "1",
        "1.5",
        "true",
        "[]",
        "{}",
        '["x"]',
        '""',
        '" "',
        '"\\t\\n"',
        '"\\u2003\\u3000\\u0085"',
        "1e999",
    ),
    *(
        '"a\\u0000b"',
        '"\\u0000"',
        '"\\ud800"',
        '"a\\udfffb"',
        '"\\ude00\\ud83d"',
        json.dumps("x" * 201),
        "9" * 5_000,
    ),
]
DESCRIPTIONS = [
    *(
        "1",
        "true",
        "[]",
        "{}",
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00x"',
        json.dumps("x" * 1001),
        json.dumps(" " * 1001),
    )
]
COMPLETED = [
    "null",
    "0",
    "1",
    "1.0",
    '"true"',
    '"false"',
    '""',
    '"on"',
    "[]",
    "[true]",
    "{}",
    '"\\ud800"',
    "1e999",
]
PRIORITIES = [
    "null",
    "1",
    "true",
    "[]",
    '""',
    '" low"',
    '"critical"',
    '"l\\u0000w"',
    '"\\ud800"',
    '"h\\u0131gh"',
    '["low"]',
]
DUE_DATES = [
    *(
        "0",
        "1766600000",
        "true",
        "[]",
        "{}",
        '" "',
        '"now"',
        '"today"',
        '"infinity"',
        '"-infinity"',
        '"epoch"',
    ),
    *('"2026-02-29"', '"1900-02-29"', '"2026-13-01"', '"2026-00-10"', '"2026-04-31"', '"0000-01-01"'),
    *(
        '"2026-12-24T24:00"',
        '"2026-12-24T18:60"',
        '"2026-12-24T18:30:60"',
        '"2026-12-24T18"',
        '"2026-12-24T"',
    ),
    *('"24.12.2026"', '"12/24/2026"', '"20261224"', '"2026-W52-4"', '"2026-12-24T18:30 Europe/Berlin"'),
    *('"12026-12-24"', '"-2026-12-24"', '"2026-12-24 BC"', '"٢٠٢٦-12-24"', '"2026-12-24\\n"'),
    *(
        '"2026-12-24\\u0000"',
        '"\\ud800"',
        '"2026-12-24T18:30:00."',
        json.dumps("2026-12-24T18:30:00." + "0" * 99),
    ),
]
CATEGORIES = ["1", "true", "[]", '["work"]', '"\\u0000"', '"\\ud800"', json.dumps("x" * 51)]
TAGS = [
    *(
        "1",
        "true",
        "{}",
        '"home"',
        '""',
        "[1]",
        "[null]",
        '[["home"]]',
        '[""]',
        '["home", " "]',
        '["\\u2003"]',
    ),
    *('["\\u0000"]', '["home", "a\\u0000b"]', '["\\ud800"]', '["a", "\\udfffx"]', '{"0": "home"}'),
    *(json.dumps(["x" * 51]), json.dumps([str(n) for n in range(21)]), json.dumps(["x"] * 1_000)),
]
VALUES = [
    *(("title", value) for value in TITLES),
    *(("description", value) for value in DESCRIPTIONS),
    *(("completed", value) for value in COMPLETED),
    *(("priority", value) for value in PRIORITIES),
    *(("due_date", value) for value in DUE_DATES),
    *(("category", value) for value in CATEGORIES),
    *(("tags", value) for value in TAGS),
]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_an_error_for_an_invalid_value_names_it(alice: Person, task: Any, name: str, value: str) -> None:
    body = f'{{"{name}": {value}}}' if name == "title" else f'{{"title": "x", "{name}": {value}}}'
    for method, path in WRITES[:3] + (WRITES[3:] if name == "completed" else []):
        assert_invalid(send(alice, method, path, body), name)
    assert tasks(alice) == [task]


def test_only_the_first_invalid_tag_is_described() -> None:
    """A body of 64 KiB can have 30,000 invalid tags, whose descriptions took 200 ms."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(TaskCreate).validate_python({"title": "x", "tags": [1] * 30_000})
    assert refused.value.error_count() == 1


def test_a_task_needs_a_title(alice: Person) -> None:
    for body in ("{}", '{"description": "x"}', '{"Title": "x"}', '{"title ": "x"}'):
        assert_invalid(send(alice, "POST", "", body), "title")
    assert tasks(alice) == []


@WRITE
def test_every_invalid_member_is_named(alice: Person, task: Any, method: str, path: str) -> None:
    body = '{"title": 1, "tags": [7, "x", 8], "completed": 3, "category": 4, "due_date": 5, "priority": 6}'
    fields = ["title", "completed", "priority", "due_date", "category", "tags"]
    fields = ["completed"] if path.endswith("complete") else fields
    assert_invalid(send(alice, method, path, body), *fields)
    assert tasks(alice) == [task]


@pytest.mark.parametrize(
    "member", ['"labels": "\\u0000\\ud800"', '"\\ud800": 1', '"\\u0000": 1', '"": 1e999']
)
def test_an_unknown_member_may_have_any_value(alice: Person, member: str) -> None:
    assert_task(send(alice, "POST", "", f'{{"title": "x", {member}}}'), 201)
    for method, path in WRITES[1:]:
        assert_task(send(alice, method, path, f'{{"completed": false, {member}}}'))


def test_of_duplicate_members_the_last_is_used(alice: Person) -> None:
    assert assert_task(send(alice, "POST", "", '{"title": 1, "title": "x"}'), 201)["title"] == "x"


def sized(size: int) -> bytes:
    """Return a valid body of that many bytes."""
    frame = '{"title": "x", "completed": false, "more": "%s"}'
    return (frame % ("x" * (size - len(frame) + 2))).encode()


@WRITE
def test_a_body_of_64_kib_is_read(alice: Person, task: Any, method: str, path: str) -> None:
    body = sized(TOO_MUCH - 1)
    assert (len(body), task["id"]) == (65536, 1)
    assert_task(send(alice, method, path, body), 201 if method == "POST" else 200)


@pytest.mark.parametrize("body", [sized(TOO_MUCH), sized(300_000), b" " * TOO_MUCH], ids=len)
def test_a_longer_body_is_refused_whether_it_is_chunked_or_not(alice: Person, task: Any, body: bytes) -> None:
    def chunks() -> Iterable[bytes]:
        yield from (body[start : start + 10_000] for start in range(0, len(body), 10_000))

    for method, path in WRITES:
        assert_problem(alice.client.request(method, f"/tasks{path}", content=body), 413)
        assert_problem(alice.client.request(method, f"/tasks{path}", content=chunks()), 413)
    assert tasks(alice) == [task]


def test_a_body_in_a_thousand_chunks_is_one_body(alice: Person) -> None:
    text = b'{"title": "' + b"x" * 180 + b'"}'
    answer = alice.client.post("/tasks", content=(bytes([byte]) for byte in text))
    assert assert_task(answer, 201)["title"] == "x" * 180


# Every request for one task: method, path below /tasks/{id}, body.
ONES = [
    ("GET", "", None),
    ("PUT", "", b"{}"),
    ("PATCH", "", b"{}"),
    ("PATCH", "/complete", b""),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(
    "number", ["0", "2", "-1", "-0", "2147483648", str(2**63 - 1), str(2**63), str(-(2**63) - 1), "9" * 6_000]
)
def test_an_unused_id_is_not_found(alice: Person, task: Any, number: str) -> None:
    for method, rest, body in ONES:
        answer = alice.client.request(method, f"/tasks/{number}{rest}", content=body)
        assert_problem(answer, 404, "not found")
    assert tasks(alice) == [task]


@pytest.mark.parametrize(
    "number",
    [
        *(
            "x",
            "1.0",
            "1e0",
            "+1",
            "%201",
            "1%20",
            "1_0",
            "%D9%A1",
            "0x1",
            "1%00",
            "%00",
            "%FF",
            "1%2F",
            "1;",
            "--1",
        ),
        *(
            "undefined",
            "null",
            "NaN",
            "1,2",
            "1%0A",
            "%0A1",
            "-",
            "1'--",
            "b0f1a1b2-0000-4000-8000-000000000000",
            "*",
        ),
    ],
)
def test_an_id_that_is_not_an_integer_is_invalid(api: Api, alice: Person, task: Any, number: str) -> None:
    for method, rest, body in ONES:
        target = f"{tasks_of(alice.name)}/{number}{rest}"
        assert_invalid(ask(api, method, target, token=alice.token, body=body), "task_id")
    assert tasks(alice) == [task]


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "rest",
    [
        *(
            "/",
            "/1/",
            "//1",
            "/1/complete/",
            "/1/Complete",
            "/1/complete/x",
            "/1/x",
            "/1//complete",
            "/1/complete%2F",
        ),
        *("%0A", "/1/complete%0A", "%00", "%20", ";", "%2F", "%2F1", "/1%2Fcomplete/x"),
    ],
)
def test_a_path_similar_to_an_endpoint_is_not_found(api: Api, alice: Person, token: bool, rest: str) -> None:
    for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = ask(
            api, method, tasks_of(alice.name) + rest, token=alice.token if token else None, body=b"{}"
        )
        assert_problem(answer, 404, "not found")
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "target",
    [
        "//",
        "/api",
        "/api/",
        "/api/alice",
        "/api/alice/",
        "/tasks",
        "/health/",
        "/ready/",
        "/Health",
        "/health%0A",
        "/%FF",
        "/health%2F",
        "//health",
        "/api%2Falice%2Ftasks",
        "/api/alice/Tasks",
        "/.env",
        "/%68ealth",
        "/heal%74h",
        "/%6detrics",
        "//metrics",
        "/metrics/",
        "/./metrics",
        "/metrics;x",
        "/%2e/metrics",
        "/do%63s",
        "/docs/swagger%2dui.css",
        "/%2e/api/alice/tasks",
        "/" + "x" * 5_000,
        "/" + "%41/" * 1_000,
        "/" + "a/" * 2_000,
        "/api/" + "%41" * 4_000 + "/tasks",
        "/api/alice/tasks/../tasks",
    ],
)
def test_any_other_path_is_not_found(api: Api, target: str) -> None:
    assert_problem(ask(api, "GET", target), 404, "not found")


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
ALLOWED = {
    "/api/alice/tasks": {"GET", "HEAD", "POST"},
    "/api/alice/tasks/1": {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
    "/api/alice/tasks/x": {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
    "/api/a%2Fb/tasks/1/complete": {"PATCH"},
    "/health": {"GET", "HEAD"},
    "/ready": {"GET", "HEAD"},
}


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("target", ALLOWED)
def test_the_response_to_an_unsupported_method_lists_the_supported_ones(
    api: Api, token: bool, target: str
) -> None:
    for method in set(METHODS) - ALLOWED[target]:
        answer = ask(api, method, target, token=api.token("alice") if token else None, body=b"{")
        assert {name.strip() for name in answer.headers["allow"].split(",")} == ALLOWED[target]
        if method == "HEAD":
            assert (answer.status_code, answer.content) == (405, b"")
        else:
            assert_problem(answer, 405)


FAILING = [
    '"2"',
    '"0"',
    'W/"1"',
    'w/"1"',
    "1",
    '"1',
    "",
    "x",
    '"01"',
    '"-1"',
    '"1 "',
    "'1'",
    '"2", W/"1"',
    '"é"',
    "**",
]
FAILING += ['"a, "1", b"', '"1, 2"', ",", '"1"x', 'x"1"', "null", '"' + "9" * 5_000 + '"', '* "1"']
CHANGES = [
    ("PUT", "", b'{"title": "Bread"}'),
    ("PATCH", "", b'{"title": "Bread"}'),
    ("PUT", "", b"{}"),
    ("PATCH", "/complete", b""),
    ("PATCH", "/complete", b'{"completed": true}'),
    ("DELETE", "", None),
]


def change(api: Api, person: Person, number: int, *lines: str) -> list[httpx.Response]:
    """Send every kind of change with these If-Match lines, each for another task."""
    headers = [("If-Match", line) for line in lines]
    path = tasks_of(person.name)
    return [
        ask(api, method, f"{path}/{number + step}{rest}", token=person.token, headers=headers, body=body)
        for step, (method, rest, body) in enumerate(CHANGES)
    ]


@pytest.fixture
def six(alice: Person) -> Any:
    """Six new tasks of Alice's, newest first."""
    return [alice.create("Buy milk") for _ in CHANGES][::-1]


@pytest.mark.parametrize("condition", FAILING)
def test_a_change_for_another_version_is_refused(api: Api, alice: Person, six: Any, condition: str) -> None:
    for answer in change(api, alice, 1, condition):
        assert_problem(answer, 412, "version")
    assert tasks(alice) == six


@pytest.mark.parametrize(
    "lines",
    [
        *(
            ['"1"'],
            ["*"],
            [" * "],
            ['"2", "1"'],
            ['"1","1"'],
            ['"2"', '"1"'],
            ['W/"2"', 'x, "1"'],
            ['"a", "1"  '],
        ),
        *([', "1"'], ['"1",'], ['"2",\t"1"'], ['"a,b", "1"'], [f'"{n}"' for n in range(50)]),
    ],
)
@pytest.mark.usefixtures("six")
def test_a_change_for_this_version_is_made(api: Api, alice: Person, lines: list[str]) -> None:
    answers = change(api, alice, 1, *lines)
    assert [answer.status_code for answer in answers] == [200] * 5 + [204]
    assert [task["version"] for task in tasks(alice)] == [2, 2, 1, 2, 2]


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("condition", ["*", '"1"', '"2"', "x", ""])
def test_a_missing_task_is_not_found_with_any_if_match(api: Api, alice: Person, condition: str) -> None:
    for answer in change(api, alice, 7, condition):
        assert_problem(answer, 404, "not found")


@pytest.mark.parametrize(
    "target", ["/api/\xff/tasks", "/api/\xff%20/tasks", "/api/%zz/tasks", "/%", "/%F", "*", "x"]
)
def test_a_malformed_target_is_not_a_server_error(api: Api, target: str) -> None:
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"400", b"401", b"404"), answer
