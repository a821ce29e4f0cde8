"""Whatever the migrations say about rights, unsaid, makes some test of the suite fail.

The mutants are made from the catalog, so that those of a new table, policy or function come by
themselves. Each is planted in a transaction, looked at by the suite's own tests, and rolled back.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from timeit import timeit
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import test_catalog
import test_policies
from conftest import Server, on_18
from test_prove import broken

from app.postgres.safety import SQL

MUTANTS = Path(__file__).with_name("mutants.sql").read_bytes()

# Noticed not only by what the catalog says but by what the database then does.
SHOWN = {
    "policy dropped",
    "policy sees all",
    "policy writes all",
    "policy added",
    "row security off",
    "grant missing",
    "grant too many",
    "grant on schema",
    "grant option",
    "trigger dropped",
    "trigger disabled",
    "function does nothing",
    "table owned",
    "schema owned",
    "role above row security",
}

AUDITED = [
    "policy sees all",
    "policy writes all",
    "policy added",
    "row security off",
    "row security not forced",
    "grant on schema",
    "grant option",
    "table owned",
    "schema owned",
    "role above row security",
]

Test = Callable[..., None]
Watcher = Callable[[psycopg.Connection], bool]


@pytest.fixture
def mutable(server: Server, template: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection to a database of its own, in no transaction."""
    with server.database(template) as name, server.connect(name) as connection:
        connection.prepare_threshold = None  # plans do not survive a mutation
        yield connection


def runnable(module: ModuleType) -> list[Test]:
    """List the tests of a module that one connection is enough for."""
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    return [t for t in tests if set(inspect.signature(t).parameters) <= {"owner", "as_user", "alice", "bob"}]


def passes(test: Test, connection: psycopg.Connection) -> bool:
    """Run a test of the suite on this very connection."""
    as_user = test_policies.acting(connection)
    world: dict[str, Any] = {
        "owner": connection,
        "as_user": as_user,
        "alice": f"Alice {uuid4()}",
        "bob": f"Bob {uuid4()}",
    }
    try:
        with connection.transaction(force_rollback=True):
            if any("both_have_a_task" in mark.args for mark in getattr(test, "pytestmark", [])):
                test_policies.both_have_a_task.__wrapped__(as_user, world["alice"], world["bob"])  # type: ignore[attr-defined]
            test(**{name: world[name] for name in inspect.signature(test).parameters})
    except pytest.skip.Exception:
        return True
    except (AssertionError, pytest.fail.Exception, psycopg.Error):
        return False
    return True


def proves(connection: psycopg.Connection) -> bool:
    """Run prove.sql within the transaction that is open."""
    try:
        with connection.transaction(force_rollback=True):
            return not broken(connection)
    except psycopg.Error:
        return False


def watchers(*modules: ModuleType) -> list[Watcher]:
    return [partial(passes, test) for module in modules for test in runnable(module)]


def gets_past(connection: psycopg.Connection, mutant: str, watching: list[Watcher]) -> bool:
    """Plant a mutant; whoever notices it is asked first about the next, which is often of its kind."""
    with connection.transaction(force_rollback=True):
        connection.execute(mutant.encode())
        noticed = next((n for n, is_fine in enumerate(watching) if not is_fine(connection)), None)
    if noticed is not None:
        watching.insert(0, watching.pop(noticed))
    return noticed is None


@on_18
@pytest.mark.long
def test_the_migrations_themselves_pass(mutable: psycopg.Connection) -> None:
    assert len(watchers(test_catalog)) >= 15
    assert len(watchers(test_policies)) >= 25
    assert all(is_fine(mutable) for is_fine in [proves, *watchers(test_catalog, test_policies)])


@on_18
@pytest.mark.long
def test_every_mutant_is_noticed(mutable: psycopg.Connection) -> None:
    mutants = mutable.execute(MUTANTS).fetchall()
    assert len(mutants) > 200
    assert {kind for kind, _ in mutants} >= SHOWN
    behaviour, catalog = [*watchers(test_policies), proves], watchers(test_catalog)
    behaviour.sort(
        key=lambda is_fine: timeit(lambda: is_fine(mutable), number=1)
    )  # the quick are asked first
    survivors = [
        sql for kind, sql in mutants if gets_past(mutable, sql, behaviour if kind in SHOWN else catalog)
    ]
    assert not survivors, "\n".join(survivors)
    assert all(is_fine(mutable) for is_fine in [*behaviour, *catalog])  # it was the mutants that they noticed


@on_18
@pytest.mark.long
def test_the_audit_reports_a_mutant_of_each_kind_that_lets_users_meet(mutable: psycopg.Connection) -> None:
    mutants: dict[str, str] = dict(mutable.execute(MUTANTS).fetchall())
    mutable.execute(b"prepare audit as " + (SQL / "audit.sql").read_bytes())
    assert [mutants[kind] for kind in AUDITED if gets_past(mutable, mutants[kind], [audits])] == []


def audits(connection: psycopg.Connection) -> bool:
    """Run audit.sql within the transaction that is open."""
    return not connection.execute("execute audit").fetchall()
