"""Spread over the workers of Citus, users are kept apart on each of them; start and reports see where not."""

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from conftest import ROOT, Person, Server, serving
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from support.citus import ABSENT, Citus
from support.faults import eventually

from app.commands import migrations
from app.postgres.safety import SCHEMA_VERSION

if not os.environ.get("CLUSTER"):
    pytest.skip(f"make cluster was not asked for. {ABSENT}", allow_module_level=True)

GRANTS = """
select p.oid::regprocedure::text, p.proacl::text from pg_proc as p
where p.pronamespace = 'app'::regnamespace or exists (
  select 1 from pg_depend as d join pg_extension as e on e.oid = d.refobjid
  where d.objid = p.oid and d.deptype = 'e' and e.extname ~ '^citus')
order by 1
"""
CALLABLE = """
select p.proname from pg_proc as p
join pg_depend as d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
join pg_extension as e on e.oid = d.refobjid
where e.extname ~ '^citus' and has_function_privilege('tasks_api', p.oid, 'execute')
order by 1
"""
NEEDED = ["assign_distributed_transaction_id", "read_intermediate_result", "relation_is_a_known_shard"]

HOLES = {
    header.removeprefix("-- "): plant
    for block in (ROOT / "tests/cluster/holes.sql").read_text().strip().split("\n\n")[1:]
    for header, _, plant in [block.partition("\n")]
}


@contextmanager
def on_worker(server: Citus, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Be the DBA of the first worker, who changes shards by hand."""
    with server.workers[0].connect(database) as connection:
        for setting in ("enable_ddl_propagation = off", "enable_manual_changes_to_shards = on"):
            connection.execute(f"set citus.{setting}")
        connection.execute("set citus.override_table_visibility = off")
        yield connection


def shards(connection: psycopg.Connection[tuple[object, ...]], number: int) -> list[str]:
    """Name shards of app.tasks on this worker."""
    query = (
        "select relname from pg_class where relname ~ '^tasks_[0-9]+$' and relkind = 'r' order by 1 limit %s"
    )
    return [str(name) for (name,) in connection.execute(query, (number,))]


def refusal(server: Server, database: str) -> str:
    """Start the API, which must be refused; return what it says."""
    with pytest.raises(AssertionError) as refused, serving(server.conninfo(database, "tasks_api")):
        pass
    return str(refused.value)


def test_a_second_run_of_citus_sql_changes_nothing(server: Citus, database: str) -> None:
    def privileges() -> list[object]:
        seen: list[object] = []
        for node in (server.coordinator, *server.workers):
            with node.connect(database) as connection:
                seen += connection.execute(GRANTS).fetchall()
        return seen

    before = privileges()
    assert "32 shards on 2 workers" in server.spread(database)
    assert privileges() == before


def test_the_api_may_call_three_functions_of_citus_on_every_node(server: Citus, database: str) -> None:
    for node in (server.coordinator, *server.workers):
        with node.connect(database) as connection:
            assert [name for (name,) in connection.execute(CALLABLE)] == NEEDED


def test_the_owner_of_shards_is_no_superuser_and_users_are_kept_apart_on_them(
    server: Citus, database: str, alice: Person, bob: Person
) -> None:
    alice.create("hers")
    bob.create("his")
    for worker in server.workers:
        with worker.connect(database) as connection:
            connection.execute("set citus.override_table_visibility = off")
            names = shards(connection, 100)
            assert len(names) == 16
            connection.execute("set role tasks_api")
            connection.execute("select set_config('app.user_id', %s, false)", (alice.name,))
            for name in names:
                query = sql.SQL("select user_id from app.{}").format(sql.Identifier(name))
                assert {user for (user,) in connection.execute(query)} <= {alice.name}


def test_the_api_can_log_in_to_no_worker(server: Citus, database: str) -> None:
    """Although the coordinator does so for it, in all the tests."""
    for worker in server.workers:
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(worker.conninfo(database, "tasks_api"))
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(worker.conninfo(database, "tasks_api"), password="guessed")
    with server.connect(database, "tasks_api") as api, pytest.raises(InsufficientPrivilege):
        api.execute("table pg_dist_authinfo")


def test_a_sound_cluster_has_no_findings(server: Citus, database: str) -> None:
    report = server.command("audit", database)
    assert (report.stdout, report.returncode) == ("0 holes, 0 warnings on 3 servers\n", 0), report.stderr


def test_each_hole_on_a_shard_is_reported_with_its_node_and_its_remedy_mends_it(
    server: Citus, clone: str
) -> None:
    with on_worker(server, clone) as worker:
        names = shards(worker, 9)
        try:
            for plant in HOLES.values():
                worker.execute(plant.format(*names))
            report = server.command("audit", clone)
            node = f"127.0.0.1:{server.workers[0].port}"
            expected = [f"{node}: hole: {hole.format(*names)}" for hole in HOLES]
            assert [hole for hole in expected if hole not in report.stdout] == []
            assert report.returncode == 1
            for _ in range(2):  # what replaces a policy goes in two steps
                for remedy in re.findall(r"^    (\S.*)$", report.stdout, re.MULTILINE):
                    worker.execute(remedy)
                report = server.command("audit", clone)
        finally:
            worker.execute("alter role tasks_api nobypassrls; alter role tasks_api reset app.user_id")
            worker.execute("revoke pg_read_all_data from tasks_api")
    server.spread(clone)
    assert server.command("audit", clone).stdout == "0 holes, 0 warnings on 3 servers\n"


def test_the_api_does_not_start_with_a_hole_on_one_shard(server: Citus, clone: str) -> None:
    with on_worker(server, clone) as worker:
        (name,) = shards(worker, 1)
        worker.execute(f"alter table app.{name} disable row level security")
    said = refusal(server, clone)
    assert f"127.0.0.1:{server.workers[0].port}: hole: row_security: app.{name}" in said


NOT_PASSED_ON = """
create or replace function app.act_as(user_id text) returns void language plpgsql as
'begin perform set_config(''app.user_id'', user_id, true); end'
"""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("drop function app.act_as(text)", "its tables are local: run sql/citus.sql"),
        ("alter role tasks_api reset citus.propagate_set_commands", "propagate_set_commands is not local"),
        (NOT_PASSED_ON, "A user does not see their own row on"),
    ],
)
def test_the_api_does_not_start_where_no_row_comes_back(
    server: Citus, clone: str, broken: str, said: str
) -> None:
    with server.connect(clone) as connection:
        connection.execute(broken)
    try:
        assert said in refusal(server, clone)
    finally:
        server.spread(clone)
    with serving(server.conninfo(clone, "tasks_api")):
        pass


def test_an_instance_leaves_the_balancer_when_it_cannot_name_its_users(server: Citus, clone: str) -> None:
    with (
        serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="1") as api,
        server.connect(clone) as connection,
    ):
        assert httpx.get(f"{api.url}/ready").status_code == 200
        connection.execute("drop function app.act_as(text)")
        eventually(lambda: httpx.get(f"{api.url}/ready").status_code == 503)
        assert "run make migrate, then sql/citus.sql" in httpx.get(f"{api.url}/ready").json()["detail"]
        server.spread(clone)
        eventually(lambda: httpx.get(f"{api.url}/ready").status_code == 200)


PLACE = """
select p.shardid, p.nodeport from pg_dist_shard_placement as p
where p.shardid = get_shard_id_for_distribution_column('app.tasks', %s::text)
"""
MOVE = "select citus_move_shard_placement(%s, '127.0.0.1', %s, '127.0.0.1', %s, 'force_logical')"


def test_shards_that_came_before_citus_sql_was_run_are_reported_and_mended(server: Citus, clone: str) -> None:
    """As on a node that was added, and then forgotten."""
    with server.connect(clone) as connection:
        ((shard, there),) = connection.execute(PLACE, ["alice"]).fetchall()
        worker = next(worker for worker in server.workers if worker.port != there)
        with worker.connect(clone) as its_dba:
            its_dba.execute("set citus.enable_ddl_propagation = off")
            its_dba.execute("drop event trigger app_prepare_shards")
        connection.execute(MOVE, (shard, there, worker.port))
    said = server.command("audit", clone).stdout
    assert f"127.0.0.1:{worker.port}: warning: shard_unprepared: app.tasks_{shard}" in said
    server.spread(clone)
    assert server.command("audit", clone).stdout == "0 holes, 0 warnings on 3 servers\n"
    with server.connect(clone, "tasks_api") as api, api.transaction():
        api.execute("select app.act_as('alice')")
        api.execute("insert into app.tasks (title) values ('Buy milk')")


def test_policies_are_shown_for_each_node(server: Citus, database: str) -> None:
    report = server.command("policies", database)
    for worker in server.workers:
        assert f"\n127.0.0.1:{worker.port}\n" in report.stdout
    assert "app.tasks_*" in report.stdout
    assert not re.search("app.tasks_[0-9]", report.stdout)


@pytest.mark.parametrize(
    "command", ["audit", "policies", "prove", "report", "migrate", "rollback", "migrations"]
)
def test_what_concerns_all_servers_is_not_done_on_one(server: Citus, database: str, command: str) -> None:
    answer = server.command(command, database, node=server.workers[0])
    said = f"This is a worker of Citus: run this on its coordinator, 127.0.0.1:{server.coordinator.port}\n"
    assert (answer.stdout, answer.stderr, answer.returncode) == ("", said, 1)


def test_every_attempt_of_prove_sql_is_refused(server: Citus, database: str) -> None:
    report = server.command("prove", database, user="postgres")
    assert report.returncode == 0, report.stdout + report.stderr


ADD = """
-- Notes: a later migration, as the next one will be.
set local lock_timeout = '5s';

alter table app.tasks add column note text;
comment on column app.tasks.note is 'More.';
grant update (note) on app.tasks to tasks_api;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 9000;
"""
DROP = f"""
set local lock_timeout = '5s';

alter table app.tasks drop column note;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return {SCHEMA_VERSION};
"""


def test_a_later_migration_adds_a_column_on_all_nodes_and_goes_back(
    server: Citus, clone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(migrations.DIRECTORY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "9000.note.sql").write_text(ADD)
    (tmp_path / "9000.note.rollback.sql").write_text(DROP)
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    conninfo = server.conninfo(clone, "owner")
    with serving(server.conninfo(clone, "tasks_api")) as api:
        headers = {"Authorization": f"Bearer {api.token('alice')}"}

        def create() -> int:
            return httpx.post(f"{api.url}/api/alice/tasks", json={"title": "x"}, headers=headers).status_code

        with ThreadPoolExecutor(2) as users:
            answers = [users.submit(create) for _ in range(60)]
            migrations.migrate(conninfo)
            migrations.rollback(conninfo)
            migrations.migrate(conninfo)
        assert {answer.result() for answer in answers} == {201}
        with server.connect(clone) as connection:
            assert connection.execute("update app.tasks set note = 'kept'").rowcount == 60
    assert server.command("audit", clone).stdout == "0 holes, 0 warnings on 3 servers\n"
