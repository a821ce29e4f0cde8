"""The commands of the Makefile."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import jwt
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from app import migrations, reports
from app.embedded import DATA, Given, embedded, ensure_secret, migrated, psql_program
from app.settings import (
    HMAC,
    DatabaseSettings,
    MigrationSettings,
    Settings,
    TokenSettings,
    load,
)

TRY = """
Try it:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/api/alice/tasks
"""


def run() -> None:
    """Serve; where no database is named, on the embedded one after migrating it."""
    from app import main  # noqa: PLC0415 - the other commands start in half the time without it

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # stop what was started, too
    if load(Given).database_url:
        return main.serve()
    with migrated():
        settings = load(Settings)
        token = make_token("alice", settings)
        print(TRY.format(token=token, host=settings.host, port=settings.port), flush=True)
        return main.serve()


def token() -> None:
    """Print a token for the user named by AS."""
    if not load(Given).database_url:
        ensure_secret()
    print(make_token(_whom(), load(TokenSettings)))


def make_token(user: str, settings: TokenSettings) -> str:
    """Make a token that the API accepts for a day."""
    if not settings.jwt_secret:
        sys.exit("JWT_SECRET: is missing; only the issuer at JWT_JWKS_URL can make a token")
    now = int(time.time())
    claims: dict[str, object] = {settings.jwt_user_claim: user, "iat": now, "exp": now + 24 * 60 * 60}
    claims |= {"aud": settings.jwt_audience} if settings.jwt_audience else {}
    claims |= {"iss": settings.jwt_issuer[0]} if settings.jwt_issuer else {}
    algorithm = next(filter(HMAC.__contains__, settings.jwt_algorithms), "HS256")
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm)


def psql() -> None:
    """Start psql as the API's role, acting for the user named by AS."""
    user = _whom()
    with nullcontext() if load(Given).database_url else migrated():
        conninfo = conninfo_to_dict(load(DatabaseSettings).database_url.get_secret_value())
        # Arguments are seen by every process of the machine, the environment is not.
        variable = {o.keyword.decode(): o.envvar.decode() for o in Conninfo.get_defaults() if o.envvar}
        environment = os.environ | {variable[key]: str(value) for key, value in conninfo.items()}
        environment["PGOPTIONS"] = "-c app.user_id=" + re.sub(r"([\\\s])", r"\\\1", user)
        prompt = f"%n as {user.replace('%', '%%')} %R%# "
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's own
        command = [psql_program(), "-v", f"PROMPT1={prompt}"]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)


def _whom() -> str:
    return os.environ.get("AS") or sys.exit(f"say whom: make {sys.argv[1]} AS=alice")


def on_owner(action: Callable[[str], None]) -> None:
    """Run a migration command on MIGRATION_DATABASE_URL, or on the embedded database where there is one.

    A deploy that forgot to name its database has none, and fails.
    """
    given = load(Given)
    named = given.migration_database_url or given.database_url
    with nullcontext() if named or not DATA.exists() else embedded():
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
