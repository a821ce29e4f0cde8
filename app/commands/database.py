"""The commands that work on a database, and on which one."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg

from app.commands import migrations, page, reports
from app.settings import Base, DatabaseSettings, DatabaseUrl, MigrationSettings, load

COORDINATOR = """
select nodename || ':' || nodeport
from pg_catalog.pg_dist_node
where groupid = 0 and exists (select from pg_catalog.pg_dist_local_group where groupid <> 0)
"""


class OwnerSettings(Base):
    """The database as its owner sees it, if named."""

    migration_database_url: DatabaseUrl | None = None


def refuse_worker(conninfo: str) -> None:
    """End on a worker of Citus, which holds a part of all and changes nothing by itself."""
    with suppress(psycopg.Error), psycopg.connect(conninfo) as connection:
        if connection.execute(reports.CITUS).rowcount:
            for (address,) in connection.execute(COORDINATOR):
                sys.exit(f"This is a worker of Citus: run this on its coordinator, {address}")


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL."""
    url = load(MigrationSettings).migration_database_url.get_secret_value()
    refuse_worker(url)
    action(url)


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, else on DATABASE_URL; end with 1 where it is not sound."""
    url = load(OwnerSettings).migration_database_url or load(DatabaseSettings).database_url
    refuse_worker(url.get_secret_value())
    text, sound = make(url.get_secret_value())
    print(text)
    sys.exit(not sound)


migrate = partial(on_owner, migrations.migrate)
rollback = partial(on_owner, migrations.rollback)
show = partial(on_owner, migrations.show)
audit = partial(report, reports.audit)
prove = partial(report, reports.prove)
policies = partial(report, reports.policies)
page_of_it = partial(report, page.report)
