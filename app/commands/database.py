"""The commands that work on a database, and on which one."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg
from pydantic import SecretStr

from app.commands import migrations, page, reports
from app.postgres.database import CITUS
from app.settings import Base, DatabaseSettings, DatabaseUrl, MigrationSettings, load

COORDINATOR = """
select nodename || ':' || nodeport
from pg_catalog.pg_dist_node
where groupid = 0 and exists (select from pg_catalog.pg_dist_local_group where groupid <> 0)
"""


class OwnerSettings(Base):
    """The database as its owner sees it, if named."""

    migration_database_url: DatabaseUrl | None = None


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL."""
    action(_reached("MIGRATION_DATABASE_URL", load(MigrationSettings).migration_database_url))


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, else on DATABASE_URL; end with 1 where it is not sound."""
    if owner := load(OwnerSettings).migration_database_url:
        conninfo = _reached("MIGRATION_DATABASE_URL", owner)
    else:
        conninfo = _reached("DATABASE_URL", load(DatabaseSettings).database_url)
    text, sound = make(conninfo)
    print(text)
    sys.exit(not sound)


def _reached(setting: str, url: SecretStr) -> str:
    """End where no database is, and on a worker of Citus, which changes nothing by itself."""
    conninfo = url.get_secret_value()
    try:
        connection = psycopg.connect(conninfo)
    except psycopg.Error as error:
        sys.exit(f"{setting}: {migrations.said(error)}")
    with suppress(psycopg.Error), connection:
        if connection.execute(CITUS).rowcount:
            for (address,) in connection.execute(COORDINATOR):
                sys.exit(f"This is a worker of Citus: run this on its coordinator, {address}")
    return conninfo


migrate = partial(on_owner, migrations.migrate)
rollback = partial(on_owner, migrations.rollback)
show = partial(on_owner, migrations.show)
audit = partial(report, reports.audit)
prove = partial(report, reports.prove)
policies = partial(report, reports.policies)
page_of_it = partial(report, page.report)
