"""The API calls PostgreSQL's functions and operators, even if other schemas contain better matches."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from conftest import Server

from app.api import statements
from app.postgres.database import ACT_AS, READ_AS

# Each matches better than PostgreSQL's own function if `public` is anywhere in the search path.
BETTER_MATCHES = ("to_json(record) returns json", "concatenate(text, integer) returns text")
# These match equally well, and have precedence if `public` is first in the search path.
TWINS = (
    "lower(text) returns text",
    "strpos(text, text) returns integer",
    "clock_timestamp() returns timestamptz",
    "now() returns timestamptz",
    "plus(integer, integer) returns integer",
    "plus(bigint, integer) returns bigint",
    "later(timestamptz, interval) returns timestamptz",
    "less(timestamptz, timestamptz) returns boolean",
    "same(text, text) returns boolean",
    "member(json, text) returns text",
    "member(jsonb, text) returns text",
    "has(jsonb, text) returns boolean",
)
OPERATORS = {
    "||": ("concatenate", "text", "integer"),
    "+": ("plus", "integer", "integer"),
    "+ ": ("plus", "bigint", "integer"),
    " +": ("later", "timestamptz", "interval"),
    "<": ("less", "timestamptz", "timestamptz"),
    "=": ("same", "text", "text"),
    "->>": ("member", "json", "text"),
    "->> ": ("member", "jsonb", "text"),
    "?": ("has", "jsonb", "text"),
}
VALUES = {
    "sent": '{"title": "Mine", "description": "x", "completed": false}',
    "user_id": "alice",
    "id": 1,
    "key": "key",
    "etags": '"1"',
    "search": "min",
    "priority": "medium",
    "category": "home",
    "tags": "{home}",
    "due_before": "2027-01-01",
    "due_after": "2026-01-01",
    "limit": 2,
}
RUN = {
    "create": statements.CREATE_TASK,
    "create once": statements.CREATE_TASK_ONCE,
    "repeat": statements.CREATE_TASK_ONCE,
    "get": statements.GET_TASK,
    "list": statements.LIST_TASKS.format(filters=statements.FILTERS, after="", order="id"),
    "count": statements.COUNT_TASKS,
    "change": statements.CHANGE_TASK.if_match,
    "change of any version": statements.CHANGE_TASK.any_version,
    "toggle": statements.TOGGLE_TASK.any_version,
    "delete": statements.DELETE_TASK.if_match,
}


@pytest.fixture
def trapped(server: Server, clone: str) -> Iterator[psycopg.Connection]:
    """Create functions and operators that record when they are called; connect as the API's role."""
    with server.connect(clone) as owner:
        for function in BETTER_MATCHES + TWINS:
            tell = f"perform pg_catalog.set_config('trap.heard', '{function}', false)"
            body = f"language plpgsql as $$ begin {tell}; return null; end $$"
            owner.execute(f"create function public.{function} {body}".encode())
        for name, (function, left, right) in OPERATORS.items():
            types = f"leftarg = {left}, rightarg = {right}"
            owner.execute(f"create operator public.{name} ({types}, function = public.{function})".encode())
    with server.connect(clone, "tasks_api") as api:
        yield api


def heard(api: psycopg.Connection) -> object:
    return api.execute("select pg_catalog.current_setting('trap.heard', true)").fetchone()


def run(api: psycopg.Connection, statement: str) -> None:
    with api.transaction():
        api.execute(ACT_AS.encode(), VALUES)
        api.execute(statement.encode(), VALUES)


def test_the_search_path_of_the_role_is_pg_catalog(trapped: psycopg.Connection) -> None:
    assert trapped.execute("show search_path").fetchone() == ("pg_catalog",)
    trapped.execute("select to_json(mine), 'x' || 1 from (select 1) as mine")
    assert heard(trapped) == (None,)


@pytest.mark.parametrize("path", ["pg_catalog", '"$user", public'])
def test_statements_of_the_api_call_only_postgresqls_own(trapped: psycopg.Connection, path: str) -> None:
    trapped.execute(f"set search_path = {path}".encode())
    for what, statement in RUN.items():
        run(trapped, statement)
        assert heard(trapped) == (None,), what
    trapped.execute(READ_AS.encode(), VALUES)
    assert heard(trapped) == (None,)


def test_a_trap_in_the_search_path_is_called_instead_of_postgresqls_function(
    trapped: psycopg.Connection,
) -> None:
    trapped.execute('set search_path = "$user", public')
    trapped.execute("select to_json(mine) from (select 1) as mine")
    assert heard(trapped) == ("to_json(record) returns json",)


@pytest.mark.parametrize("path", ["public, pg_catalog", "public"])
def test_functions_of_the_schema_call_only_postgresqls_own(trapped: psycopg.Connection, path: str) -> None:
    trapped.execute("set app.user_id = 'alice'")
    trapped.execute(f"set search_path = {path}".encode())
    for call in (
        "insert into app.tasks (title) values ('Mine')",
        "update app.tasks set title = 'Still mine'",
        """select from app.create_task_once('key', '{"title": "Mine"}')""",
        """select from app.create_task_once('key', '{"title": "Mine"}')""",
        "select from app.create_task_once('key', 'Mine', null, false)",
        "select app.current_user_id(), app.trimmed('x'), app.next_task_id(), app.schema_version()",
        "delete from app.idempotency_keys",
        "delete from app.tasks",
    ):
        trapped.execute(call)
        assert heard(trapped) == (None,), call


def test_updates_and_deletes_call_only_immutable_functions(server: Server, database: str) -> None:
    """On Citus, an update or delete may call no other functions."""
    for statement in (*statements.CHANGE_TASK, statements.DELETE_TASK.if_match):
        called = re.findall(r"(?:pg_catalog|app)[.](\w+)\(", statement.partition("returning")[0])
        assert called
        with server.connect(database) as connection:
            query = "select proname from pg_proc where proname = any(%s) and provolatile <> 'i'"
            assert connection.execute(query, [called]).fetchall() == []
