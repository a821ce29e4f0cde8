"""Liveness and readiness."""

import asyncio

import httpx
import pytest
from conftest import Api, Breakable
from psycopg import OperationalError
from support.contract import TITLES, ask, assert_headers

from app import __version__
from app.api import health, statements
from app.commands import migrations
from app.postgres.connection import Row
from app.postgres.database import Database
from app.postgres.safety import SCHEMA_VERSION


def ready(breakable: Breakable) -> httpx.Response:
    return httpx.get(f"{breakable.api.url}/ready", timeout=60)


def assert_unready(breakable: Breakable, *said: str) -> None:
    """Assert that /ready returns a 503 whose detail contains these words."""
    answer = ready(breakable)
    assert answer.status_code == 503, answer.text
    assert_headers(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) > 0
    problem = answer.json()
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", TITLES[503], 503)
    for word in said:
        assert word in problem["detail"]
    for secret in (breakable.api.secret, breakable.server.host, breakable.database, "postgres", "select"):
        assert secret not in answer.text


@pytest.mark.parametrize("headers", [[], [("Authorization", "Bearer x")]])
def test_health_returns_the_version(api: Api, headers: list[tuple[str, str]]) -> None:
    answer = ask(api, "GET", "/health", headers=headers)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "healthy", "version": __version__},
    )
    assert_headers(answer)


def test_a_sound_database_is_ready(api: Api) -> None:
    answer = ask(api, "GET", "/ready")
    assert answer.status_code == 200
    assert_headers(answer)


@pytest.mark.parametrize("table", ["app.tasks", "app.users", "app.idempotency_keys"])
def test_a_table_without_row_security_makes_the_api_unready(breakable: Breakable, table: str) -> None:
    alter = f"alter table {table} {{}} row level security"
    with breakable.broken(alter.format("disable"), alter.format("enable")):
        assert_unready(breakable, table, "Row security")
        assert httpx.get(f"{breakable.api.url}/health", timeout=60).status_code == 200
    assert ready(breakable).status_code == 200


@pytest.mark.parametrize(
    "right", ["select", "insert", "update", "references", "delete", "truncate", "trigger", "all"]
)
def test_any_other_table_without_row_security_makes_the_api_unready(breakable: Breakable, right: str) -> None:
    breakable.run("create table app.extra (id text)")
    with breakable.broken(f"grant {right} on app.extra to tasks_api", "drop table app.extra"):
        assert_unready(breakable, "app.extra")
    assert ready(breakable).status_code == 200


def test_a_table_that_the_role_may_not_use_is_ignored(breakable: Breakable) -> None:
    with breakable.broken("create table app.extra (id text)", "drop table app.extra"):
        assert ready(breakable).status_code == 200


def test_a_role_that_may_bypass_row_security_is_not_ready(breakable: Breakable) -> None:
    with breakable.broken("alter role tasks_api bypassrls", "alter role tasks_api nobypassrls"):
        assert_unready(breakable, "app.tasks")
    assert ready(breakable).status_code == 200


def test_a_search_path_with_another_schema_than_pg_catalog_is_not_ready(breakable: Breakable) -> None:
    role = f"alter role tasks_api in database {breakable.database}"
    with breakable.broken(f"{role} set search_path = pg_catalog, public", f"{role} reset search_path"):
        breakable.disconnect()
        assert_unready(breakable, "search_path", "pg_catalog, public")
    breakable.disconnect()
    assert ready(breakable).status_code == 200


def test_a_missing_migration_makes_the_api_unready(breakable: Breakable) -> None:
    owner = breakable.server.conninfo(breakable.database)
    migrations.rollback(owner)
    try:
        assert_unready(breakable, f"migration {SCHEMA_VERSION - 1}", "make migrate")
    finally:
        migrations.migrate(owner)
    assert ready(breakable).status_code == 200


@pytest.mark.parametrize(
    ("breaks", "repairs"),
    [
        ("alter schema app rename to gone", "alter schema gone rename to app"),
        ("revoke usage on schema app from tasks_api", "grant usage on schema app to tasks_api"),
        (
            "alter function app.schema_version rename to gone",
            "alter function app.gone rename to schema_version",
        ),
        (
            "revoke execute on function app.schema_version from tasks_api",
            "grant execute on function app.schema_version to tasks_api",
        ),
        ("alter table app.tasks rename to gone", "alter table app.gone rename to tasks"),
        ("alter table app.tasks rename title to gone", "alter table app.tasks rename gone to title"),
        ("alter table app.users rename to gone", "alter table app.gone rename to users"),
        ("alter function app.trimmed rename to gone", "alter function app.gone rename to trimmed"),
        *(
            (f"revoke {right} from tasks_api", f"grant {right} to tasks_api")
            for right in (
                "execute on function app.trimmed",
                "execute on function app.next_task_id",
                "execute on function app.create_task_once(text, json)",
                "execute on function app.current_user_id",
            )
        ),
    ],
)
def test_a_database_without_a_needed_object_is_not_ready(
    breakable: Breakable, breaks: str, repairs: str
) -> None:
    with breakable.broken(breaks, repairs):
        assert_unready(breakable, "database")
    assert ready(breakable).status_code == 200


@pytest.mark.parametrize(
    "right",
    [
        "select on app.tasks",
        "delete on app.tasks",
        f"insert ({statements.NAMES}) on app.tasks",
        "insert (title) on app.tasks",
        "update (completed) on app.tasks",
        "select on app.users",
        "insert (id, last_task_id) on app.users",
        "update (last_task_id) on app.users",
        "select on app.idempotency_keys",
        "delete on app.idempotency_keys",
        "insert (key, task) on app.idempotency_keys",
        "execute on function app.insert_task",
    ],
)
def test_a_database_that_would_refuse_a_request_is_not_ready(breakable: Breakable, right: str) -> None:
    with breakable.broken(f"revoke {right} from tasks_api", f"grant {right} to tasks_api"):
        assert_unready(breakable)
    assert ready(breakable).status_code == 200


def test_readiness_checks_every_statement() -> None:
    constants = [value for name, value in vars(statements).items() if name.isupper()]
    texts = {value for value in constants if isinstance(value, str) and " app." in value}
    texts |= {value.if_match for value in constants if isinstance(value, statements.Change)}
    lists = {statements.LIST_TASKS, statements.LIST_AND_COUNT_TASKS}  # need the same privileges as GET_TASK
    assert set(health.STATEMENTS) == texts - lists


class Slow(Database):
    """A database with slow probes, which counts them."""

    def __init__(self) -> None:
        self.probes = 0

    async def probe(self, *_: object) -> list[Row]:
        self.probes += 1
        await asyncio.sleep(0.05)
        raise OperationalError


def test_requests_within_a_second_share_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PAUSE", 0.01)
    monkeypatch.setattr(health, "MAX_AGE", 600)

    async def work() -> None:
        database = Slow()
        readiness = health.Readiness(database)

        async def ask_often() -> None:
            for _ in range(3):
                with pytest.raises(OperationalError):
                    await readiness.check()

        await asyncio.gather(*(ask_often() for _ in range(50)))
        assert database.probes == 1
        monkeypatch.setattr(health, "MAX_AGE", -1)
        readiness.fresh_until = 0
        await ask_often()
        assert database.probes == 1 + 3

    asyncio.run(work())
