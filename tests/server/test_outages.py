"""If the database fails, the response is a 503 as in the contract. Only a defect of the code is a 500."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import Breakable, Database, on_18
from support.contract import assert_problem, assert_task, until_blocked
from support.faults import eventually

TASKS = "/api/alice/tasks"
ORIGIN = {"Origin": "http://localhost:3000"}
READS = [("GET", "", None), ("GET", "?sort=title&search=x", None), ("GET", "/1", None)]
WRITES = [
    ("POST", "", {"title": "x"}),
    ("PUT", "/1", {"title": "x"}),
    ("PATCH", "/1", {}),
    ("PATCH", "/1/complete", {}),
    ("DELETE", "/1", None),
]


def assert_unavailable(answer: httpx.Response) -> Any:
    """Assert that a response is a 503 as in the contract."""
    problem = assert_problem(answer, 503, "database")
    assert int(answer.headers["retry-after"]) > 0
    return problem


def ask(breakable: Breakable, method: str, rest: str, body: object = None, **headers: str) -> httpx.Response:
    return breakable.ask(method, TASKS + rest, json=body, headers=headers)


@pytest.fixture(autouse=True)
def task(breakable: Breakable) -> Iterator[Any]:
    """Alice's only task, which must be unchanged after each test."""
    breakable.run("delete from app.users")
    made = assert_task(ask(breakable, "POST", "", {"title": "Buy milk"}), 201)
    yield made
    assert ask(breakable, "GET", "").json() == [made]


@contextmanager
def limited(breakable: Breakable, setting: str) -> Iterator[None]:
    """Give the API's connections this setting."""
    change = f"alter role tasks_api in database {breakable.database} set {setting}"
    reset = f"alter role tasks_api in database {breakable.database} reset {setting.partition(' ')[0]}"
    try:
        breakable.run(change)
        renew(breakable)
        yield
    finally:
        breakable.run(reset)
        renew(breakable)


def renew(breakable: Breakable) -> None:
    """Make the API replace its connections."""
    breakable.disconnect()
    eventually(lambda: ask(breakable, "GET", "").status_code == 200)


@pytest.mark.parametrize(
    ("breaks", "repairs"),
    [
        ("alter table app.tasks rename to gone", "alter table app.gone rename to tasks"),
        ("alter table app.tasks rename title to gone", "alter table app.tasks rename gone to title"),
        ("alter schema app rename to gone", "alter schema gone rename to app"),
        ("revoke usage on schema app from tasks_api", "grant usage on schema app to tasks_api"),
        ("revoke select on app.tasks from tasks_api", "grant select on app.tasks to tasks_api"),
    ],
)
def test_a_missing_object_or_privilege_is_503(breakable: Breakable, breaks: str, repairs: str) -> None:
    with breakable.broken(breaks, repairs):
        for request in READS + WRITES[:-1]:
            assert_unavailable(ask(breakable, *request))


@pytest.mark.parametrize(
    ("breaks", "repairs"),
    [
        ("alter function app.trimmed rename to gone", "alter function app.gone rename to trimmed"),
        ("alter table app.users rename to gone", "alter table app.gone rename to users"),
        (
            "revoke execute on function app.next_task_id from tasks_api",
            "grant execute on function app.next_task_id to tasks_api",
        ),
    ],
)
def test_a_missing_object_for_creates_is_503(breakable: Breakable, breaks: str, repairs: str) -> None:
    with breakable.broken(breaks, repairs):
        assert_unavailable(ask(breakable, "POST", "", {"title": "x"}))
        assert ask(breakable, "GET", "").status_code == 200


def test_a_read_only_database_refuses_changes_with_503(breakable: Breakable) -> None:
    with limited(breakable, "default_transaction_read_only = on"):
        for request in WRITES:
            assert_unavailable(ask(breakable, *request))
        for request in READS:
            assert ask(breakable, *request).status_code == 200


FAILING_COMMIT = """
create function app.fail() returns trigger language plpgsql
as $$ begin raise exception 'no space left' using errcode = '53100'; end $$;
create constraint trigger late after update on app.tasks deferrable initially deferred
  for each row execute function app.fail()
"""


def test_a_failed_commit_is_503_and_changes_nothing(breakable: Breakable) -> None:
    with breakable.broken(FAILING_COMMIT, "drop function app.fail cascade"):
        assert_unavailable(ask(breakable, "PUT", "/1", {"title": "lost"}))
        assert ask(breakable, "GET", "/1").json()["title"] == "Buy milk"


def test_a_changed_column_type_fails_no_request(breakable: Breakable) -> None:
    assert ask(breakable, "GET", "/1").status_code == 200
    with breakable.broken(
        "alter table app.tasks alter version type bigint", "alter table app.tasks alter version type integer"
    ):
        for _ in range(3):  # on each connection
            assert ask(breakable, "GET", "/1").status_code == 200
        assert ask(breakable, "PUT", "/1", {}).status_code == 200
    assert ask(breakable, "GET", "/1").status_code == 200


@contextmanager
def held(breakable: Breakable) -> Iterator[Database]:
    """Lock Alice's task in another transaction."""
    with (
        breakable.server.connect(breakable.database) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute("select from app.tasks for update")
        yield connection


@pytest.mark.parametrize("limit", ["lock_timeout = '100ms'", "statement_timeout = '100ms'"])
def test_a_request_over_its_time_limit_is_503(breakable: Breakable, limit: str) -> None:
    with limited(breakable, limit), held(breakable):
        for request in WRITES[1:]:
            assert_unavailable(ask(breakable, *request))


def test_a_closed_idle_connection_fails_no_request(breakable: Breakable) -> None:
    for request in READS:
        breakable.disconnect()
        assert ask(breakable, *request).is_success
    breakable.disconnect()
    assert ask(breakable, "PUT", "/1", {}).is_success


def test_a_request_that_loses_its_connection_is_503(breakable: Breakable) -> None:
    with ThreadPoolExecutor() as pool, held(breakable) as connection:
        waiting = pool.submit(ask, breakable, "PATCH", "/1/complete")
        until_blocked(connection)
        breakable.disconnect()
        assert_unavailable(waiting.result())


@on_18
def test_a_request_that_has_waited_too_long_is_503(breakable: Breakable) -> None:
    lock = "lock table app.tasks in access exclusive mode"
    with ThreadPoolExecutor(9) as pool:
        with breakable.server.connect(breakable.database) as connection, connection.transaction():
            connection.execute(lock.encode())
            working = pool.submit(ask, breakable, "PATCH", "/1/complete", {"completed": False})
            until_blocked(connection)
            waiting = [pool.submit(ask, breakable, "GET", "") for _ in range(8)]
            assert_problem(httpx.get(breakable.api.url + TASKS, timeout=60), 401)
            assert httpx.get(f"{breakable.api.url}/health", timeout=60).status_code == 200
            assert "took too long" in assert_unavailable(working.result())["detail"]
            said = [assert_unavailable(future.result())["detail"] for future in waiting]
            assert any("Too many requests" in detail for detail in said)  # one may get the connection
        assert ask(breakable, "GET", "").status_code == 200


@on_18
def test_without_a_database_everything_else_still_works(breakable: Breakable) -> None:
    with breakable.server.connect("postgres") as connection:
        connection.execute(f"alter database {breakable.database} connection limit 0")
        try:
            breakable.disconnect()
            for path in (TASKS, "/ready"):  # the first request loses its connection, the second gets none
                assert_unavailable(breakable.ask("GET", path))
            assert breakable.ask("GET", "/health").json()["status"] == "healthy"
            assert_problem(breakable.ask("GET", "/api/bob/tasks"), 403)
            assert_problem(httpx.get(breakable.api.url + TASKS, timeout=60), 401)
            assert_problem(breakable.ask("GET", "/nothing"), 404)
            assert_problem(breakable.ask("DELETE", TASKS), 405)
            assert_problem(breakable.ask("POST", TASKS, content=b"{"), 400)
            assert_problem(breakable.ask("POST", TASKS, content=b" " * 70_000), 413)
            assert_problem(breakable.ask("POST", TASKS, content=b"{}"), 422)
        finally:
            connection.execute(f"alter database {breakable.database} connection limit -1")
    eventually(lambda: ask(breakable, "GET", "").status_code == 200)
    eventually(lambda: breakable.ask("GET", "/ready").status_code == 200)


@contextmanager
def defect(breakable: Breakable) -> Iterator[None]:
    """Make the database raise an unexpected error."""
    with breakable.server.connect(breakable.database) as connection:
        row = connection.execute("select pg_get_functiondef('app.trimmed'::regproc)").fetchone()
        assert row
        connection.execute(
            "create or replace function app.trimmed(value text) returns text language plpgsql immutable as"
            " $$ begin raise exception 'the secret of %', value; end $$"
        )
        try:
            yield
        finally:
            connection.execute(str(row[0]))


def test_a_defect_is_a_500_without_details_and_with_every_header(breakable: Breakable) -> None:
    with defect(breakable):
        answer = ask(breakable, "POST", "", {"title": "Buy bread"}, **ORIGIN, **{"X-Request-ID": "a-defect"})
        assert_problem(answer, 500)
        assert "secret" not in answer.text
        assert "Buy bread" not in answer.text
        assert answer.headers["x-request-id"] == "a-defect"
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert ask(breakable, "GET", "").status_code == 200


def test_a_browser_may_read_a_503(breakable: Breakable) -> None:
    with breakable.broken("alter table app.tasks rename to gone", "alter table app.gone rename to tasks"):
        answer = ask(breakable, "GET", "", **ORIGIN, **{"X-Request-ID": "away"})
        assert_unavailable(answer)
        assert answer.headers["x-request-id"] == "away"
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
