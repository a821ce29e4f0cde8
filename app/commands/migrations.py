"""Migrations by yoyo: each one and its mark in one transaction, and one deploy at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration, MigrationList

DIRECTORY = Path(__file__).parent.parent.parent / "sql" / "migrations"

# Released by PostgreSQL itself when a deploy is killed, which yoyo's own lock (a row) is not.
LOCK = "select pg_advisory_lock(hashtext('app.migrations'))"
UNLOCK = "select pg_advisory_unlock(hashtext('app.migrations'))"


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """yoyo's backend for PostgreSQL, connected by libpq's own conninfo."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        super().__init__(parse_uri("postgresql+psycopg:"), "_yoyo_migration")

    def connect(self, _: object) -> psycopg.Connection[Any]:
        """Connect to what the settings name, which yoyo's own form of address cannot express."""
        return psycopg.connect(self.conninfo, autocommit=True, application_name="tasks migrations")

    @contextmanager
    def lock(self, timeout: int = 60) -> Iterator[None]:
        """Wait up to `timeout` seconds for another deploy to finish."""
        self.execute("select set_config('lock_timeout', :timeout, false)", {"timeout": f"{timeout}s"})
        try:
            self.execute(LOCK)
        except psycopg.errors.LockNotAvailable:
            raise SystemExit(
                f"another deploy has been migrating this database for {timeout} seconds"
            ) from None
        try:
            yield
        finally:
            self.execute(UNLOCK)

    def carry_out(self, migration: Migration, direction: str) -> None:
        """Apply or roll back one migration and record it, both or neither."""
        try:
            with self.transaction():
                migration.process_steps(self, direction)
                (self.mark_one if direction == "apply" else self.unmark_one)(migration, log=False)
                self.log_migration(migration, direction)
        except psycopg.Error as error:
            raise SystemExit(f"{migration.id}: {error}\nNothing of this migration was kept.") from None


def migrate(conninfo: str) -> None:
    """Apply what is not applied yet, oldest first."""
    with _locked(conninfo) as (backend, migrations):
        pending = backend.to_apply(migrations)
        for migration in pending:
            backend.carry_out(migration, "apply")
            print(f"applied {migration.id}")
        if not pending:
            print("nothing to apply: the database is up to date")


def rollback(conninfo: str) -> None:
    """Undo the newest applied migration."""
    with _locked(conninfo) as (backend, migrations):
        applied = backend.to_rollback(migrations)
        if not applied:
            raise SystemExit("nothing to roll back: no migration is applied")
        backend.carry_out(applied[0], "rollback")
        print(f"rolled back {applied[0].id}")


def show(conninfo: str) -> None:
    """List the migrations, applied or not."""
    with _locked(conninfo) as (backend, migrations):
        applied = backend.get_applied_migration_hashes()
        for migration in migrations:
            print(f"{'applied' if migration.hash in applied else 'pending':8} {migration.id}")


@contextmanager
def _locked(conninfo: str) -> Iterator[tuple[Backend, MigrationList]]:
    try:
        backend = Backend(conninfo)
    except psycopg.OperationalError as error:
        raise SystemExit(f"MIGRATION_DATABASE_URL: {error}") from None
    with backend, backend.lock():
        yield backend, read_migrations(str(DIRECTORY))
