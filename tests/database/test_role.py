"""`make migrate` repairs the API's role after a restore and after changes by any role, even itself."""

import subprocess
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from conftest import Server, on_18, serving
from psycopg import sql
from support.faults import Cluster, cluster

from app.commands import migrations, reports

SETTINGS = """
select entry from pg_db_role_setting cross join unnest(setconfig) as entry
where setrole = 'tasks_api'::regrole order by setdatabase, entry
"""
ACCESS = """
select polname || ' on ' || polrelid::regclass, pg_get_expr(polqual, polrelid),
  pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy')
from pg_policy
union all
select oid::regclass::text, relacl::text, relrowsecurity::text, relforcerowsecurity::text
from pg_class where relnamespace in ('app'::regnamespace, 'audit'::regnamespace)
union all
select attrelid::regclass || '.' || attname, attacl::text, null, null
from pg_attribute join pg_class as c on c.oid = attrelid
where relnamespace = 'app'::regnamespace and attnum > 0
union all
select oid::regprocedure::text, proacl::text, null, null from pg_proc where pronamespace = 'app'::regnamespace
union all
select nspname, nspacl::text, null, null from pg_namespace where nspname in ('app', 'audit')
order by 1, 2
"""


def settings_of(server: Server | Cluster, database: str) -> list[object]:
    with server.connect(database) as superuser:
        return [entry for (entry,) in superuser.execute(SETTINGS)]


def access_to(server: Server | Cluster, database: str) -> list[tuple[object, ...]]:
    with server.connect(database) as superuser:
        return superuser.execute(ACCESS).fetchall()


@pytest.fixture(scope="module")
def elsewhere(server: Server) -> Iterator[Cluster]:
    """Another server, without the role tasks_api."""
    with cluster(server.version) as made:
        made.start(fsync="off")
        yield made


@pytest.fixture
def restored(server: Server, clone: str, elsewhere: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a database on the other server, restored from a dump with a task of alice."""
    program = server.binaries / "pg_dump"
    if not program.exists():
        pytest.skip(f"there is no {program}")
    with server.connect(clone) as superuser:
        superuser.execute("insert into app.users (id) values ('alice')")
        superuser.execute("insert into app.tasks (user_id, id, title) values ('alice', 1, 'Buy milk')")
    options = getattr(request, "param", [])
    command = [str(program), *options, server.conninfo(clone)]
    dump = subprocess.run(command, check=True, capture_output=True).stdout
    name = f"restored_{uuid4().hex[:8]}"
    with elsewhere.connect() as superuser:
        superuser.execute("drop role if exists tasks_api")
        superuser.execute(f"create database {name} template template0 encoding 'UTF8'".encode())
    psql = [str(server.binaries / "psql"), "-Xq", elsewhere.conninfo(name)]
    said = subprocess.run(psql, input=dump, check=True, capture_output=True).stderr.decode()
    assert 'role "tasks_api" does not exist' in said or options
    yield name
    with elsewhere.connect() as superuser:
        superuser.execute(f"drop database {name} with (force)".encode())
        superuser.execute("drop role tasks_api")


def assert_serves_alice(elsewhere: Cluster, database: str) -> None:
    with elsewhere.connect() as superuser:
        superuser.execute("alter role tasks_api login")
    with serving(elsewhere.conninfo(database, "tasks_api")) as api:
        headers = {"Authorization": f"Bearer {api.token('alice')}"}
        tasks = httpx.get(f"{api.url}/api/alice/tasks", headers=headers, timeout=60).json()
        assert [task["title"] for task in tasks] == ["Buy milk"]
        made = httpx.post(f"{api.url}/api/alice/tasks", headers=headers, json={"title": "more"}, timeout=60)
        assert made.status_code == 201
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200
        assert "warning" not in api.log.read_text()


@pytest.mark.parametrize("restored", [[], ["--no-privileges"]], indirect=True, ids=["all", "no privileges"])
def test_migrating_after_a_restore_recreates_the_missing_role(
    server: Server, database: str, elsewhere: Cluster, restored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.migrate(elsewhere.conninfo(restored))
    printed = capsys.readouterr().out
    assert "repaired: create role tasks_api" in printed
    assert "\\password tasks_api" in printed
    assert settings_of(elsewhere, restored) == settings_of(server, database)
    assert access_to(elsewhere, restored) == access_to(server, database)
    assert reports.audit(elsewhere.conninfo(restored)).text.endswith("0 holes, 0 warnings")
    assert reports.prove(elsewhere.conninfo(restored)).sound
    assert_serves_alice(elsewhere, restored)
    capsys.readouterr()
    migrations.migrate(elsewhere.conninfo(restored))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"


def test_a_role_created_manually_after_a_restore_is_repaired(
    server: Server, database: str, elsewhere: Cluster, restored: str
) -> None:
    with elsewhere.connect() as superuser:
        superuser.execute("create role tasks_api login createdb bypassrls")
    migrations.migrate(elsewhere.conninfo(restored))
    assert settings_of(elsewhere, restored) == settings_of(server, database)
    assert access_to(elsewhere, restored) == access_to(server, database)
    assert_serves_alice(elsewhere, restored)


def test_a_database_restored_at_an_earlier_migration_is_migrated(
    server: Server, database: str, elsewhere: Cluster, restored: str
) -> None:
    del server, database
    conninfo = elsewhere.conninfo(restored)
    migrations.rollback(conninfo)
    migrations.migrate(conninfo)
    assert_serves_alice(elsewhere, restored)


@pytest.fixture
def settings(server: Server, clone: str) -> Iterator[list[object]]:
    """The role's settings, restored after the test."""
    before = settings_of(server, clone)
    yield before
    with server.connect(clone) as superuser:
        for place in (sql.SQL(""), sql.SQL(" in database {}").format(sql.Identifier(clone))):
            superuser.execute(sql.SQL("alter role tasks_api{} reset all").format(place))
        migrations.migrate(server.conninfo(clone))
    assert settings_of(server, clone) == before


@pytest.mark.parametrize(
    "lifted",
    [
        "alter role tasks_api set statement_timeout = 0",
        "alter role tasks_api set lock_timeout = '1h'",
        "alter role tasks_api reset idle_in_transaction_session_timeout",
        "alter role tasks_api set timezone = 'Asia/Karachi'",
        "alter role tasks_api set client_encoding = 'LATIN1'",
        "alter role tasks_api set default_transaction_isolation = 'serializable'",
        "alter role tasks_api set default_transaction_read_only = on",
        "alter role tasks_api set row_security = off",
        "alter role tasks_api set search_path = public",
        "alter role tasks_api set role = 'none'",
        "alter role tasks_api in database {} set statement_timeout = 0",
        "alter role tasks_api in database {} set default_transaction_isolation = 'serializable'",
        "alter role tasks_api in database {} set TimeZone = 'Asia/Karachi'",
        "alter role tasks_api reset all",
    ],
)
def test_settings_that_the_role_changed_itself_are_reset(
    server: Server, clone: str, settings: list[object], lifted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.connect(clone, "tasks_api") as itself:
        itself.execute(sql.SQL(lifted).format(sql.Identifier(clone)))
    assert settings_of(server, clone) != settings
    migrations.migrate(server.conninfo(clone))
    assert settings_of(server, clone) == settings
    assert "repaired: alter role tasks_api" in capsys.readouterr().out


def test_attributes_settings_and_memberships_of_the_role_are_reset(
    server: Server, clone: str, settings: list[object]
) -> None:
    with server.connect(clone) as superuser:
        superuser.execute("alter role tasks_api set session_replication_role = replica")
        superuser.execute("alter role tasks_api set app.user_id = 'alice'")
        superuser.execute(f"alter role tasks_api in database {clone} set app.user_id = 'bob'".encode())
        superuser.execute("alter role tasks_api createrole createdb replication bypassrls superuser")
        superuser.execute("grant pg_read_all_data to tasks_api")
        migrations.migrate(server.conninfo(clone))
        role = superuser.execute(
            "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication"
            " or exists (select from pg_auth_members where member = oid)"
            " from pg_roles where rolname = 'tasks_api'"
        ).fetchone()
    assert role == (False,)
    assert settings_of(server, clone) == settings


def test_settings_that_the_migrations_do_not_use_are_kept(
    server: Server, clone: str, settings: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    with server.connect(clone) as superuser:
        superuser.execute("alter role tasks_api set work_mem = '8MB'")
        superuser.execute("alter role tasks_api set synchronous_commit = off")
    capsys.readouterr()
    migrations.migrate(server.conninfo(clone))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"
    assert sorted(map(str, settings_of(server, clone))) == sorted(
        [*map(str, settings), "work_mem=8MB", "synchronous_commit=off"]
    )
    with server.connect(clone) as superuser:
        superuser.execute("alter role tasks_api reset work_mem")
        superuser.execute("alter role tasks_api reset synchronous_commit")


@on_18
def test_an_owner_without_the_right_to_alter_the_role_gets_the_statement_to_run(
    server: Server, clone: str, settings: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    del settings
    with server.connect(clone) as superuser:
        superuser.execute("create role plain login createrole")
        superuser.execute(f"alter database {clone} owner to plain".encode())
        superuser.execute("grant select, insert, update, delete on all tables in schema public to plain")
        superuser.execute("grant usage on schema app to plain")
        superuser.execute("grant execute on function app.schema_version() to plain")
        superuser.execute("alter role tasks_api set lock_timeout = 0")
        try:
            migrations.migrate(server.conninfo(clone, "plain"))
        finally:
            superuser.execute(f"alter database {clone} owner to postgres".encode())
            superuser.execute("drop owned by plain")
            superuser.execute("drop role plain")
    said = capsys.readouterr()
    assert said.out == "nothing to apply: the database is up to date\n"
    assert "Run as a superuser, or as the role that created tasks_api:\n" in said.err
    assert "\n  alter role tasks_api set lock_timeout = '2s';\n" in said.err


@on_18
def test_an_owner_without_createrole_gets_the_statement_to_run(elsewhere: Cluster, restored: str) -> None:
    with elsewhere.connect(restored) as superuser:
        superuser.execute("create role plain login")
        superuser.execute("grant all on all tables in schema public to plain")
        try:
            with pytest.raises(
                SystemExit, match=r"Run as a superuser.*:\n  create role tasks_api nosuperuser"
            ):
                migrations.migrate(elsewhere.conninfo(restored, "plain"))
        finally:
            superuser.execute("drop owned by plain")
            superuser.execute("drop role plain")
            superuser.execute("create role tasks_api")


def test_sql_run_as_the_role_can_do_what_the_readme_warns_of(
    server: Server, clone: str, settings: list[object]
) -> None:
    del settings
    with server.connect(clone, "tasks_api") as attacker, server.connect(clone, "tasks_api") as api:
        attacker.execute("set statement_timeout = 0")
        attacker.execute("alter role tasks_api set lock_timeout = 0")
        attacker.execute("alter role tasks_api password 'of the attacker'")
        with attacker.transaction():
            attacker.execute("lock table app.tasks in access exclusive mode")
        ended = attacker.execute("select pg_terminate_backend(%s, 5000)", [api.info.backend_pid]).fetchone()
    assert ended == (True,)
    with server.connect(clone) as superuser:
        superuser.execute("alter role tasks_api password null")
