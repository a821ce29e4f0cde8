"""The embedded PostgreSQL with the settings of `make run`, and databases of a known size."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from conftest import BINARIES, ROOT, Database, Server
from embedded.cluster import Cluster

from app.commands import migrations

FOLDER = ROOT / ".postgres" / "bench"
TASKS = 50  # of each user
SETTINGS = ("max_wal_size = '8GB'", "checkpoint_timeout = '1h'")  # no checkpoint during a measurement

# The users are 1, 2, 3... The first tasks of all users are inserted, then the second ones, so that the rows
# of one user are on different pages, as usual. Those of the user `busy` are in between; ten are pending.
FILL = """
do $$
begin
  set local session_replication_role = replica;
  insert into app.users (id, last_task_id)
  select person::text, {tasks}
  from generate_series(1, {users}) as person;
  insert into app.users (id, last_task_id)
  values ('busy', {busy});
  for task in 1..{tasks} loop
    insert into app.tasks (id, user_id, title, description, completed, created_at, updated_at)
    select task, person::text, 'Task ' || task || ' of ' || person,
      case when task % 2 = 0 then 'What there is to know about it, in a line or two' end,
      task % 3 = 0, now(), now()
    from generate_series(1, {users}) as person;
    insert into app.tasks (id, user_id, title, completed, created_at, updated_at)
    select id, 'busy', 'Task ' || id, id % greatest({busy} / 10, 1) <> 0, now(), now()
    from generate_series((task - 1) * {busy} / {tasks} + 1, task * {busy} / {tasks}) as id;
  end loop;
end
$$
"""

# The indexes are created after the rows, which takes a tenth of the time.
INDEXES = """
select conname, pg_get_constraintdef(pg_constraint.oid), pg_get_indexdef(indexrelid),
  indexrelid::regclass::text
from pg_index left join pg_constraint on conindid = indexrelid and contype in ('p', 'u')
where indrelid = 'app.tasks'::regclass
"""


@contextmanager
def postgres() -> Iterator[Server]:
    """Run a server in a temporary folder."""
    FOLDER.parent.mkdir(exist_ok=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with Cluster(FOLDER, BINARIES["18"]).running() as folder:
            server = Server("18", folder, BINARIES["18"])
            with server.connect("postgres") as connection:
                for setting in SETTINGS:
                    connection.execute(f"alter system set {setting}")
                connection.execute("select pg_reload_conf()")
            yield server
    finally:
        shutil.rmtree(FOLDER)


def create(server: Server, name: str, users: int, busy: int = 0) -> str:
    """Create a migrated database with TASKS rows for each user; return its connection string for the API."""
    with server.connect("postgres") as connection:
        connection.execute(
            f"create database {name} template template0 encoding 'UTF8' "
            "locale_provider builtin builtin_locale 'C.UTF-8'"
        )
    with redirect_stdout(StringIO()):
        migrations.migrate(server.conninfo(name))
    with server.connect(name) as connection:
        connection.execute("alter role tasks_api login")
        _fill(connection, users, busy)
        connection.execute("vacuum analyze")
    return server.conninfo(name, "tasks_api")


def _fill(connection: Database, users: int, busy: int) -> None:
    indexes = connection.execute(INDEXES).fetchall()
    for constraint, _, _, index in indexes:
        connection.execute(
            f"alter table app.tasks drop constraint {constraint}" if constraint else f"drop index {index}"
        )
    connection.execute(FILL.format(users=users, tasks=TASKS, busy=busy))
    connection.execute("set maintenance_work_mem = '512MB'")
    for constraint, rule, definition, _ in indexes:
        connection.execute(
            f"alter table app.tasks add constraint {constraint} {rule}" if constraint else f"{definition}"
        )
