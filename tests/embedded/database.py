"""The embedded PostgreSQL of this checkout, in .postgres/."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from app.commands import migrations
from app.setting_types import DatabaseUrl, JwtSecret
from app.settings import Base, load
from embedded.cluster import Cluster
from embedded.locks import locked
from embedded.programs import find_programs

HOME = Path(__file__).parent.parent.parent / ".postgres"
DATA = HOME / "data"
SHORTEST = 32  # bytes of a secret

# With this locale lower() works for all scripts, independent of the locale of the shell.
CREATE_DATABASE = """
create database tasks
template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8'
"""


class Given(Base):
    """The settings that decide whether the embedded database is used."""

    database_url: DatabaseUrl | None = None
    migration_database_url: DatabaseUrl | None = None
    jwt_secret: JwtSecret = None
    host: str = "127.0.0.1"


@contextmanager
def embedded() -> Iterator[None]:
    """Run the embedded PostgreSQL of this checkout and put its addresses and secret in the environment."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the server is stopped, too
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with ExitStack() as stack:
        with in_one_line():
            print(f"DATABASE_URL is not set: using the embedded PostgreSQL in {HOME}", file=sys.stderr)
            folder = stack.enter_context(Cluster(HOME, find_programs()).running())
            address = {"host": folder, "port": "5432", "user": "postgres"}
            with psycopg.connect(make_conninfo(**address, dbname="postgres"), autocommit=True) as connection:
                ensure_database(connection)
            os.environ["MIGRATION_DATABASE_URL"] = make_conninfo(**address, dbname="tasks")
            os.environ["DATABASE_URL"] = make_conninfo(**address | {"user": "tasks_api"}, dbname="tasks")
            ensure_secret()
        yield


@contextmanager
def in_one_line() -> Iterator[None]:
    """End the process with one line for an error of the system or the database, such as a full disk."""
    try:
        yield
    except OSError as error:
        sys.exit(f"{error.filename or HOME}: {error.strerror or error}")
    except psycopg.Error as error:
        sys.exit(f"{HOME}: {' '.join(str(error).split())}")


def ensure_database(connection: psycopg.Connection) -> None:
    """Create the database if it does not exist. The lock is for concurrent first runs."""
    connection.execute(migrations.LOCK)
    if not connection.execute("select 1 from pg_database where datname = 'tasks'").fetchone():
        connection.execute(CREATE_DATABASE)


@in_one_line()
def ensure_secret() -> None:
    """If no secret is set, generate one and keep it in a file."""
    file = HOME / "secret"
    with locked(HOME / "lock"):
        file.touch(mode=0o600)
        if file.stat().st_size < SHORTEST:  # new, or incomplete after an interrupted run or on a full disk
            file.write_text(secrets.token_hex(SHORTEST))
    if not load(Given).jwt_secret:
        os.environ["JWT_SECRET"] = file.read_text()


@contextmanager
def migrated() -> Iterator[str]:
    """Run the embedded PostgreSQL with all migrations applied, and yield the URL of its owner."""
    with embedded():
        conninfo = os.environ["MIGRATION_DATABASE_URL"]
        with redirect_stdout(sys.stderr):
            migrations.migrate(conninfo)
        with in_one_line(), psycopg.connect(conninfo) as connection:
            connection.execute(migrations.LOCK)  # concurrent updates of one role would fail
            connection.execute("alter role tasks_api login")
        yield conninfo
