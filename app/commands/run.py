"""Serves; where no database is named, on the embedded one."""

import sys
from functools import partial

from app.commands.embedded import Given, migrated
from app.commands.token import make_token
from app.server.run import serve
from app.settings import HINTS, Settings, load

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
TRY = """
Try it:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/api/alice/tasks
"""


def main() -> None:
    """Serve on DATABASE_URL, or on the embedded PostgreSQL after migrating it."""
    given = load(Given)
    if given.database_url:
        return serve()
    if given.host not in LOOPBACK:  # a deploy that forgot it
        sys.exit(f"DATABASE_URL: is missing; {HINTS['DATABASE_URL']} (the embedded one needs HOST=127.0.0.1)")
    with migrated():
        settings = load(Settings)
        token = make_token("alice", settings)
        hint = TRY.format(token=token, host=settings.host, port=settings.port)
        return serve(partial(print, hint, flush=True))
