"""If any policy, grant, trigger or check of the migrations were missing or different, some test would fail.

The mutants are generated from the catalog, so a new table, policy or function has mutants, too. Each is
executed in a transaction in which tests of the suite run, and is rolled back.
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

# Mutants that a test of behaviour must detect, not only a test of the catalog.
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
    """A superuser's connection to a new database, outside of a transaction."""
    with server.database(template) as name, server.connect(name) as connection:
        connection.prepare_threshold = None  # a mutant invalidates plans
        yield connection


def runnable(module: ModuleType) -> list[Test]:
    """Return the tests of a module that need only one connection."""
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    return [t for t in tests if set(inspect.signature(t).parameters) <= {"owner", "as_user", "alice", "bob"}]


def passes(test: Test, connection: psycopg.Connection) -> bool:
    """Return whether a test passes on this connection."""
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
    """Return whether prove.sql finds nothing BROKEN in the open transaction."""
    try:
        with connection.transaction(force_rollback=True):
            return not broken(connection)
    except psycopg.Error:
        return False


def watchers(*modules: ModuleType) -> list[Watcher]:
    return [partial(passes, test) for module in modules for test in runnable(module)]


def gets_past(connection: psycopg.Connection, mutant: str, watching: list[Watcher]) -> bool:
    """Return whether no test detects a mutant. A test that does is tried first on the next one."""
    with connection.transaction(force_rollback=True):
        connection.execute(mutant.encode())
        noticed = next((n for n, is_fine in enumerate(watching) if not is_fine(connection)), None)
    if noticed is not None:
        watching.insert(0, watching.pop(noticed))
    return noticed is None


@on_18
@pytest.mark.long
def test_all_tests_pass_without_a_mutant(mutable: psycopg.Connection) -> None:
    assert len(watchers(test_catalog)) >= 15
    assert len(watchers(test_policies)) >= 25
    assert all(is_fine(mutable) for is_fine in [proves, *watchers(test_catalog, test_policies)])


@on_18
@pytest.mark.long
def test_every_mutant_fails_a_test(mutable: psycopg.Connection) -> None:
    mutants = mutable.execute(MUTANTS).fetchall()
    assert len(mutants) > 200
    assert {kind for kind, _ in mutants} >= SHOWN
    behaviour, catalog = [*watchers(test_policies), proves], watchers(test_catalog)
    behaviour.sort(key=lambda is_fine: timeit(lambda: is_fine(mutable), number=1))  # fast tests first
    survivors = [
        sql for kind, sql in mutants if gets_past(mutable, sql, behaviour if kind in SHOWN else catalog)
    ]
    assert not survivors, "\n".join(survivors)
    assert all(is_fine(mutable) for is_fine in [*behaviour, *catalog])  # without a mutant they pass


@on_18
@pytest.mark.long
def test_the_audit_reports_a_mutant_of_each_kind_that_breaks_isolation(mutable: psycopg.Connection) -> None:
    mutants: dict[str, str] = dict(mutable.execute(MUTANTS).fetchall())
    mutable.execute(b"prepare audit as " + (SQL / "audit.sql").read_bytes())
    assert [mutants[kind] for kind in AUDITED if gets_past(mutable, mutants[kind], [audits])] == []


def audits(connection: psycopg.Connection) -> bool:
    """Return whether audit.sql has no finding in the open transaction."""
    return not connection.execute("execute audit").fetchall()
