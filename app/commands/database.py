"""The commands that work on a database, and on which one."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from app.commands import migrations, page, reports
from app.commands.embedded import DATA, Given, embedded, migrated
from app.settings import DatabaseSettings, MigrationSettings, load


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL, or on the embedded database where there is one.

    A deploy that forgot to name its database has none, and fails.
    """
    given = load(Given)
    named = given.migration_database_url or given.database_url
    with nullcontext() if named or not DATA.exists() else embedded():
        action(load(MigrationSettings).migration_database_url.get_secret_value())


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, else DATABASE_URL, else the database of `make run`.

    That must be there: a deploy that gates on the report of an empty one would always go on.
    """
    given = load(Given)
    url = given.migration_database_url or given.database_url
    if not url and not DATA.exists():
        load(DatabaseSettings)  # says that it is missing
    with nullcontext(url.get_secret_value()) if url else migrated() as conninfo:
        text, sound = make(conninfo)
    print(text)
    sys.exit(not sound)


migrate = partial(on_owner, migrations.migrate)
rollback = partial(on_owner, migrations.rollback)
show = partial(on_owner, migrations.show)
audit = partial(report, reports.audit)
prove = partial(report, reports.prove)
policies = partial(report, reports.policies)
page_of_it = partial(report, page.report)
