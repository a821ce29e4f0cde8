"""The commands of app/server/RUNBOOKS.md do what the page says."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from conftest import BINARIES, ROOT, Api, deployed
from support.faults import Cluster, cluster
from support.proxies import program

from app.commands import migrations

pytestmark = pytest.mark.long
PAGE = (ROOT / "app" / "server" / "RUNBOOKS.md").read_text()
BLOCKS = {
    (title, number): block
    for title, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for number, block in enumerate(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
}
OWNER = "owner"  # has CREATEROLE, owns the database, and is not a superuser


@dataclass(frozen=True)
class Place:
    """A server with a database whose owner is not a superuser."""

    postgres: Cluster

    @property
    def owner(self) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.postgres.port}/tasks"

    @property
    def api(self) -> str:
        return f"postgresql://tasks_api@127.0.0.1:{self.postgres.port}/tasks"

    def rows(self) -> list[tuple[object, ...]]:
        with self.postgres.connect("tasks") as connection:
            tasks = connection.execute("select user_id, id, title from app.tasks order by 1, 2").fetchall()
            return tasks + connection.execute("select id, last_task_id from app.users order by 1").fetchall()


@contextmanager
def place(version: str = "18") -> Iterator[Place]:
    with cluster(version) as postgres:
        postgres.start(fsync="off")
        with postgres.connect() as connection:
            connection.execute(f"create role {OWNER} login createrole")
            connection.execute(f"create database tasks owner {OWNER}")
        yield Place(postgres)


@pytest.fixture(scope="module")
def old() -> Iterator[Place]:
    """The server to restore from, with tasks of two users."""
    with place() as made:
        migrations.migrate(made.owner)
        with made.postgres.connect("tasks") as connection:
            connection.execute("alter role tasks_api login")
        with deployed(made.api) as api:
            for user in ("alice", "bob"):
                create(api, user)
                create(api, user)
        yield made


def create(api: Api, user: str) -> int:
    headers = {"Authorization": f"Bearer {api.token(user)}", "Idempotency-Key": os.urandom(8).hex()}
    made = httpx.post(f"{api.url}/api/{user}/tasks", headers=headers, json={"title": "x"}, timeout=60)
    assert made.status_code == 201, made.text
    number: int = made.json()["id"]
    return number


def run(title: str, number: int, folder: Path, stdin: str = "", **values: str) -> str:
    """Run a block of the page in a shell that exits on the first error."""
    block = BLOCKS[title, number].replace(".venv/bin/python", shlex.quote(sys.executable))
    for name in set(re.findall(r"(\w+\.dump)", block)):
        block = block.replace(name, str(folder / name))
    binaries = f"{BINARIES['18']}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", block],
        cwd=ROOT,
        env={"PATH": binaries, "HOME": str(folder)} | values,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,  # without a terminal, psql reads a password from stdin
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("number", [0, 1])
def test_a_restored_server_has_all_rows_and_works(old: Place, number: int, tmp_path: Path) -> None:
    with place() as new:
        run("Restore into a new server", number, tmp_path, OLD=old.owner, NEW=new.owner)
        assert new.rows() == old.rows()
        with new.postgres.connect("tasks") as connection:
            connection.execute("alter role tasks_api login")
        with deployed(new.api) as api:
            assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200
            assert create(api, "alice") == 3


def test_a_new_password_is_needed_only_for_new_connections(tmp_path: Path) -> None:
    with place() as here, ExitStack() as stack:
        migrations.migrate(here.owner)
        password(here, tmp_path, "first password")
        rules = here.postgres.data / "pg_hba.conf"
        rules.write_text("host all tasks_api all scram-sha-256\nhost all all all trust\n")
        with here.postgres.connect() as connection:
            connection.execute("select pg_reload_conf()")
        first = here.api.replace("@", ":first%20password@")
        running = stack.enter_context(deployed(first))
        password(here, tmp_path, "second password")
        assert create(running, "alice") == 1
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(first)
        successor = stack.enter_context(deployed(first.replace("first", "second")))
        assert create(successor, "alice") == 2


def password(here: Place, folder: Path, text: str) -> None:
    run("Give tasks_api a password, or a new one", 0, folder, f"{text}\n{text}\n", OWNER=here.owner)


def test_a_connection_is_verified_against_the_root_certificate(tmp_path: Path) -> None:
    openssl = program("openssl")
    if not BINARIES["15"].exists():  # the embedded PostgreSQL is built without TLS
        pytest.skip("DEBIAN'S POSTGRESQL 15 IS NOT INSTALLED: sslmode WAS NOT TRIED")
    with place("15") as here:
        migrations.migrate(here.owner)
        data = here.postgres.data
        for name, common in {"server": "127.0.0.1", "other": "127.0.0.1"}.items():
            subprocess.run(
                [
                    *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                    *("-subj", f"/CN={common}", "-addext", "subjectAltName=IP:127.0.0.1"),
                    *("-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.crt"),
                ],
                check=True,
                capture_output=True,
            )
        for name in ("server.key", "server.crt"):
            target = data / name
            target.write_bytes((tmp_path / name).read_bytes())
            os.chown(target, data.stat().st_uid, data.stat().st_gid)
            target.chmod(0o600)
        (data / "pg_hba.conf").write_text("hostssl all all all trust\n")
        with here.postgres.connect() as connection:
            connection.execute("alter role tasks_api login")
            connection.execute("alter system set ssl = on")
            connection.execute("select pg_reload_conf()")
        verified = f"{here.api}?sslmode=verify-full&sslrootcert={tmp_path}/server.crt"
        with deployed(verified) as api:
            assert create(api, "alice") == 1
        with (
            pytest.raises(AssertionError, match="certificate verify failed"),
            deployed(verified.replace("server.crt", "other.crt")),
        ):
            pass


def test_health_and_migrations_say_which_release_runs(old: Place, tmp_path: Path) -> None:
    program("curl")
    with deployed(old.api) as api:
        port = api.url.rpartition(":")[2]
        said = run("Which release runs where", 0, tmp_path, PORTS=port, OWNER=old.owner)
    version = httpx.Response(200, content=said.partition(" on ")[0]).json()["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert f" on {port}\n" in said
    assert "pending" not in said


def test_an_erased_user_leaves_no_row(old: Place, tmp_path: Path) -> None:
    """The last test with the fixture `old`."""
    said = run("Erase a user whose account is deleted", 0, tmp_path, OWNER=old.owner, DELETED="bob")
    assert "erasing bob: 2 tasks" in said
    assert {row[0] for row in old.rows()} == {"alice"}


def test_every_block_of_the_page_is_tested() -> None:
    tried = {*re.findall(r'run\(\s*"([^"]+)"', Path(__file__).read_text())}
    assert {title for title, _ in BLOCKS} == tried
    assert len(BLOCKS) == len(tried) + 1  # there are two ways to restore
