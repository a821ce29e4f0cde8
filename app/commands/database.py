"""The commands that connect to a database.

Migrations use MIGRATION_DATABASE_URL. Reports use it if it is set, and DATABASE_URL otherwise.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
from pydantic import SecretStr

from app.commands import migrations, page, reports
from app.postgres.citus import CITUS
from app.setting_types import DatabaseUrl
from app.settings import Base, DatabaseSettings, MigrationSettings, load

COORDINATOR = """
select nodename || ':' || nodeport
from pg_catalog.pg_dist_node
where groupid = 0 and exists (select from pg_catalog.pg_dist_local_group where groupid <> 0)
"""


class OwnerSettings(Base):
    """MIGRATION_DATABASE_URL, if it is set."""

    migration_database_url: DatabaseUrl | None = None


def run_as_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL."""
    action(_check_reachable("MIGRATION_DATABASE_URL", load(MigrationSettings).migration_database_url))


def audit() -> None:
    """Print the findings of audit.sql; exit with 0 if sound, 1 if --fail-on applies, 2 on an error."""
    parser = ArgumentParser("python -m app audit", description=audit.__doc__)
    parser.add_argument("--format", default="text", choices=["text", "json", "sarif", "markdown"])
    parser.add_argument("--fail-on", default="hole", choices=["hole", "warning"], help="default: hole")
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="JSON of an earlier run, whose findings do not fail"
    )
    given = parser.parse_args(sys.argv[2:])
    try:
        report(lambda url: reports.audit(url, given.format, given.fail_on, given.baseline))
    except SystemExit as end:
        if isinstance(end.code, str):  # an error message, with which Python would exit with status 1
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, or on DATABASE_URL if the former is not set.

    Exit with status 1 if the report is not sound.
    """
    if owner := load(OwnerSettings).migration_database_url:
        conninfo = _check_reachable("MIGRATION_DATABASE_URL", owner)
    else:
        conninfo = _check_reachable("DATABASE_URL", load(DatabaseSettings).database_url)
    text, sound = make(conninfo)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has closed the pipe; Python's flush at exit would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(not sound)


def _check_reachable(setting: str, url: SecretStr) -> str:
    """Return the URL. End the process if the database does not accept a connection or is a worker of Citus.

    Citus makes schema changes on its coordinator only.
    """
    conninfo = url.get_secret_value()
    try:
        connection = psycopg.connect(conninfo)
    except psycopg.Error as error:
        sys.exit(f"{setting}: {migrations.first_message(error)}")
    with suppress(psycopg.Error), connection:
        if connection.execute(CITUS).rowcount:
            for (address,) in connection.execute(COORDINATOR):
                sys.exit(f"This is a worker of Citus: run this on its coordinator, {address}")
    return conninfo


migrate = partial(run_as_owner, migrations.migrate)
rollback = partial(run_as_owner, migrations.rollback)
show = partial(run_as_owner, migrations.show)
prove = partial(report, reports.prove)
policies = partial(report, reports.policies)
html_report = partial(report, page.report)
