"""The commands that work on a database, and on which one."""

import sys
from collections.abc import Callable
from functools import partial

from app.commands import migrations, page, reports
from app.settings import Base, DatabaseSettings, DatabaseUrl, MigrationSettings, load


class OwnerSettings(Base):
    """The database as its owner sees it, if named."""

    migration_database_url: DatabaseUrl | None = None


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL."""
    action(load(MigrationSettings).migration_database_url.get_secret_value())


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, else on DATABASE_URL; end with 1 where it is not sound."""
    url = load(OwnerSettings).migration_database_url or load(DatabaseSettings).database_url
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
