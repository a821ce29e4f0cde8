"""Rows that exist before the tables are distributed: migrations apply to them, and erase.sql erases them."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Database, serving
from support.citus import ABSENT, NODE, Citus
from support.faults import Cluster

from app.commands import migrations
from app.postgres.safety import SCHEMA_VERSION

if not os.environ.get("CLUSTER"):
    pytest.skip(f"only make cluster runs these tests. {ABSENT}", allow_module_level=True)

OLDEST = 12  # the migration that citus.sql needs
SOUND = "0 holes, 0 warnings on 3 servers\n"
USERS = 20
WRITE = """
insert into app.users (id, last_task_id) select 'user-' || number, 1 from generate_series(1, %s) as number;
insert into app.tasks (user_id, id, title, description, updated_at)
  select id, 1, 'A secret of ' || id, 'More of ' || id, now() from app.users;
insert into app.idempotency_keys (user_id, key, task)
  select id, 'key of ' || id, '{"title": "A secret"}' from app.users;
analyze app.users, app.tasks, app.idempotency_keys;
"""
ROWS = "select user_id, id, title, version from app.tasks order by 1, 2"
FILES = """
select pg_relation_filepath(c.oid) from pg_class as c
where pg_relation_filepath(c.oid) is not null and c.relpersistence = 'p'
"""
# Texts of users, which are in no statistics. The ids of users are.
SAMPLES = """
select tablename || '.' || attname, most_common_vals, histogram_bounds from pg_stats
where schemaname = 'app' and attname not in ('id', 'user_id')
  and concat(most_common_vals, histogram_bounds) ~* 'secret|more of|key of|office|urgent'
"""


AGE = "update app.idempotency_keys set created_at = now() - interval '25 hours' where user_id < 'user-2'"


def write(connection: Database) -> None:
    """Write a task and a key of each user, as the owner of the rows would."""
    for statement in WRITE.strip().split(";\n"):
        connection.execute(statement, [USERS] if "%s" in statement else None)


def files_with(node: Cluster, database: str, text: str) -> list[str]:
    """Return the files of the tables, indexes and catalogs of a node that contain a text."""
    with node.connect(database) as connection:
        connection.execute("checkpoint")
        connection.execute("set citus.override_table_visibility = off")
        paths = [node.data / str(path) for (path,) in connection.execute(FILES)]
    return [str(path) for path in paths if text.encode() in path.read_bytes()]


def test_an_erased_user_is_in_no_file_of_any_node(server: Citus) -> None:
    """Although the rows were there before the tables were distributed, which copies them."""
    with server.local() as name:
        with server.connect(name) as connection:
            write(connection)
        nodes = (server.coordinator, *server.workers)
        server.spread(name)
        assert files_with(server.coordinator, name, "A secret of user-7") == []
        assert files_with(server.coordinator, name, "user-7") == []
        assert server.command("audit", name).stdout == SOUND
        assert any(files_with(worker, name, "A secret of user-7") for worker in server.workers)

        psql = [str(server.coordinator.binaries / "psql"), "-X", "-d", server.conninfo(name, "owner")]
        subprocess.run([*psql, "-v", "user=user-7", "-f", str(ROOT / "sql/erase.sql")], check=True)
        for table in ("users", "tasks", "idempotency_keys"):
            subprocess.run([*psql, "-c", f"vacuum full app.{table}"], check=True)
        assert [file for node in nodes for file in files_with(node, name, "user-7")] == []


def test_old_keys_are_deleted_on_all_nodes(server: Citus, clone: str) -> None:
    with server.connect(clone) as connection:
        write(connection)
        assert connection.execute(AGE).rowcount == 11
        psql = [str(server.coordinator.binaries / "psql"), "-X", "-d", server.conninfo(clone, "owner")]
        run = [*psql, "-f", str(ROOT / "sql/expire.sql")]
        assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "DELETE 11\n"
        assert connection.execute("select from app.idempotency_keys").rowcount == USERS - 11
        kept = connection.execute("select min(user_id) from app.idempotency_keys").fetchone()
        assert kept == ("user-2",)


def test_rows_left_on_the_coordinator_are_reported_and_deleted(server: Citus) -> None:
    """As after a distribution by hand."""
    with server.local() as name, server.connect(name) as connection:
        write(connection)
        connection.execute("set citus.enable_unsafe_triggers = on")
        for table, column in {"users": "id", "tasks": "user_id", "idempotency_keys": "user_id"}.items():
            connection.execute("select create_distributed_table(%s, %s)", (f"app.{table}", column))
        assert "warning: shard_unprepared: app.tasks\n" in server.command("audit", name).stdout
        assert files_with(server.coordinator, name, "A secret of user-7")
        server.spread(name)
        assert files_with(server.coordinator, name, "user-7") == []
        assert server.command("audit", name).stdout == SOUND


README = (ROOT / "tests/cluster/README.md").read_text()


def test_the_tables_can_be_made_local_again(server: Citus) -> None:
    """By the commands of the page."""
    commands = next(b for b in re.findall(r"\n\n((?: {4}.*\n)+)", README) if "undistribute_table" in b)
    with server.local() as name, server.connect(name) as connection:
        write(connection)
        before = connection.execute(ROWS).fetchall()
        server.spread(name)
        for command in commands.strip().split("\n"):
            connection.execute(command.strip())
        assert connection.execute(ROWS).fetchall() == before
        migrations.migrate(server.conninfo(name, "owner"))
        assert server.command("audit", name).stdout == "0 holes, 0 warnings\n"


SILENT = {
    f"citus.{name}": -1
    for name in ("recover_2pc_interval", "background_task_queue_interval", "defer_shard_delete_interval")
}


def test_a_cluster_restored_elsewhere_never_connects_to_the_live_nodes(server: Citus, clone: str) -> None:
    (command,) = re.findall(r"^ {4}(update pg_dist_node .*)$", README, re.MULTILINE)
    nodes = (server.coordinator, *server.workers)
    with ExitStack() as stack:
        connection = stack.enter_context(server.connect(clone))
        write(connection)
        before = connection.execute(ROWS).fetchall()
        restored = [server.copy(node, stack) for node in nodes]
        for made in restored:
            made.start(**NODE, **SILENT)
        for made in restored:
            with made.connect(clone) as its_dba:
                for old, new in zip(nodes, restored, strict=True):
                    named = command.replace("NEWPORT", str(new.port)).replace("OLDPORT", str(old.port))
                    its_dba.execute(named.replace("NEW", "127.0.0.1").replace("OLD", "127.0.0.1"))
        for made in restored:
            made.end(signal.SIGINT)
            made.start(**NODE)
        elsewhere = replace(server, coordinator=restored[0], workers=restored[1:])
        assert elsewhere.command("audit", clone).stdout == SOUND
        with serving(elsewhere.conninfo(clone, "tasks_api")) as api:
            for number in range(1, USERS + 1):
                user = f"user-{number}"
                headers = {"Authorization": f"Bearer {api.token(user)}"}
                tasks = f"{api.url}/api/{user}/tasks"
                assert httpx.post(tasks, json={"title": "Buy milk"}, headers=headers).status_code == 201
        assert connection.execute(ROWS).fetchall() == before
        for node in nodes:
            with node.connect(clone) as its_dba:
                known = {port for (port,) in its_dba.execute("select nodeport from pg_dist_node")}
                assert known == {each.port for each in nodes}


def copy_migrations(source: Path, target: Path, newest: int) -> None:
    """Copy the migrations up to a number."""
    for file in source.iterdir():
        if int(file.name[:4]) <= newest:
            shutil.copy(file, target)


def test_all_migrations_run_on_distributed_rows_and_back(
    server: Citus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each also keeps what users write out of the statistics of shards, as on one server."""
    complete = migrations.DIRECTORY
    copy_migrations(complete, tmp_path, OLDEST)
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    with server.local() as name, server.connect(name) as connection:
        write(connection)
        server.spread(name)
        owner = server.conninfo(name, "owner")
        numbers = range(OLDEST + 1, SCHEMA_VERSION + 1)
        for number in numbers:
            copy_migrations(complete, tmp_path, number)
            migrations.migrate(owner)
        for _ in numbers:
            migrations.rollback(owner)
        migrations.migrate(owner)
        connection.execute("update app.tasks set category = 'office', priority = 'urgent', tags = '{secret}'")
        connection.execute("analyze app.users, app.tasks, app.idempotency_keys")
        assert connection.execute("select count(*) from app.tasks").fetchone() == (USERS,)
        for worker in server.workers:
            with server.on(worker, name) as its:
                assert its.execute("select from pg_stats where tablename ~ 'tasks_[0-9]+'").rowcount
                assert its.execute(SAMPLES).fetchall() == []
        assert server.command("audit", name).stdout == SOUND
