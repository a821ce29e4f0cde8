"""Assertions of the contract for every response, and a client that sends paths and headers unchanged."""

import http.client
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from conftest import Api, Database, Person

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
# For each member that clients may set: pairs of a value as sent and as returned.
EXAMPLES: dict[str, list[tuple[Any, Any]]] = {
    "title": [(" Buy oats\n", "Buy oats"), ("Buy rye", "Buy rye")],
    "description": [(" The blue one ", " The blue one "), ("", "")],
    "completed": [(True, True), (False, False)],
    "priority": [("High", "high"), ("none", "none"), ("URGENT", "urgent"), ("low", "low")],
    "due_date": [("2026-12-24", "2026-12-24T00:00:00"), ("2026-12-24T18:30", "2026-12-24T18:30:00")],
    "category": [(" Über Work\u3000", "über work"), ("home", "home")],
    "tags": [([" b", "A", "b", "a "], ["b", "A", "a"]), (["x" * 50] + [str(n) for n in range(19)],) * 2],
}
# The values of members that are absent from a new task. CLEARED are those that null resets.
DEFAULTS: dict[str, Any] = {
    "description": None,
    "completed": False,
    "priority": "medium",
    "due_date": None,
    "category": None,
    "tags": [],
}
CLEARED = ("description", "due_date", "category", "tags")
PYDANTICS = ("Input", "Value", "should", "valid ", "ValueError")  # words of pydantic's own messages
SECRETS = ("psycopg", "postgres", "sql", "select ", "app.", "Traceback", "127.0.0.1", "/tmp/", "eyJ")


def ask(  # noqa: PLR0913 - one for each part of a request
    api: Api,
    method: str,
    target: str,
    *,
    token: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> httpx.Response:
    """Send one request with target and header lines unchanged."""
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        if token is not None:
            connection.putheader("Authorization", f"Bearer {token}")
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return httpx.Response(response.status, headers=response.getheaders(), content=response.read())
    finally:
        connection.close()


def tasks_of(user: str) -> str:
    """Return the path of a user's tasks."""
    return f"/api/{quote(user, safe='')}/tasks"


def assert_headers(response: httpx.Response) -> None:
    """Assert the headers that the contract promises for every response."""
    assert response.headers["x-request-id"]
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    assert response.headers.get_list("vary") == ["Origin"]


def assert_problem(response: httpx.Response, status: int, *words: str) -> Any:
    """Assert that a response is a problem with these words in its detail; return the problem."""
    assert response.status_code == status, (response.status_code, response.text)
    assert_headers(response)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get_list("cache-control") == ["no-store"]
    problem = response.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail"}
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", TITLES[status], status)
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert "errors" not in problem or status == 422
    for word in words:
        assert word in problem["detail"]
    for secret in SECRETS:
        assert secret not in response.text
    return problem


def assert_invalid(response: httpx.Response, *fields: str) -> Any:
    """Assert that a response is a 422 with errors of exactly these fields; return the problem."""
    problem = assert_problem(response, 422, *fields)
    assert [error["field"] for error in problem["errors"]] == list(fields)
    assert not [word for word in PYDANTICS if word in problem["detail"]], problem["detail"]
    assert all(error["message"] and set(error) == {"field", "message"} for error in problem["errors"])
    return problem


def assert_task(response: httpx.Response, status: int = 200) -> Any:
    """Assert that a response is one task; return the task."""
    assert response.status_code == status, response.text
    assert_headers(response)
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get_list("cache-control") == ["private, no-cache"]
    task = response.json()
    assert response.headers["etag"] == f'"{task["version"] if status == 200 else 1}"'
    return task


def tasks(person: Person, **query: str) -> Any:
    """Return a person's tasks."""
    response = person.client.get("/tasks", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def until_blocked(connection: Database) -> None:
    """Wait until a session waits for a lock of this connection, here or on another server of Citus."""
    here = "select 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
    on_citus = connection.execute("select to_regclass('citus_lock_waits')").fetchone() != (None,)
    waiting = f"{here} union all select 1 from citus_lock_waits" if on_citus else here
    until = time.monotonic() + 60
    while not connection.execute(waiting).fetchall():
        assert time.monotonic() < until, "no session waits for a lock"
        connection.execute("select pg_sleep(0.005)")
