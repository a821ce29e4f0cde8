"""The commands of app for `make`: without a database URL they run on the embedded PostgreSQL."""

import signal

# The imports take a second. A Ctrl-C before they are done ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
from functools import partial

from app.__main__ import main as run_command
from app.commands.token import make_token
from app.settings import HINTS, Settings, load
from embedded.database import DATA, Given, embedded, ensure_secret, migrated
from embedded.programs import find_programs

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
OF_OWNER = {"migrate", "rollback", "migrations"}
TRY = """
Try it:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/api/alice/tasks
"""


def main() -> None:
    """Run the command that the first argument names.

    Only `run` and `psql` create the embedded database. Otherwise `make audit` of a deploy without a database
    URL would succeed on an empty database.
    """
    command, given = sys.argv[1], load(Given)
    os.environ["PATH"] += f"{os.pathsep}{find_programs()}"  # for psql, if the machine has none
    if given.database_url or (given.migration_database_url and command not in {"run", "token", "psql"}):
        return run_command()
    if command == "token":
        ensure_secret()
        return run_command()
    if command == "run":
        return serve_embedded(given.host)
    if command != "psql" and not DATA.exists():
        return run_command()  # prints which setting is missing
    with embedded() if command in OF_OWNER else migrated():
        return run_command()


def serve_embedded(host: str) -> None:
    """Serve from the embedded database, and print a request to try."""
    if host not in LOOPBACK:  # probably a deploy without DATABASE_URL
        sys.exit(f"DATABASE_URL: is missing; {HINTS['DATABASE_URL']} (the embedded one needs HOST=127.0.0.1)")
    from app.server.run import serve  # noqa: PLC0415 - slow to import

    with migrated():
        settings = load(Settings)
        hint = TRY.format(token=make_token("alice", settings), host=settings.host, port=settings.port)
        return serve(partial(print, hint, flush=True))


if __name__ == "__main__":
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
