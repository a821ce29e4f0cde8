"""Serves; where no database is named, on the embedded one."""

import signal
import sys

from app.commands.embedded import Given, migrated
from app.commands.token import make_token
from app.server.run import serve
from app.settings import Settings, load

TRY = """
Try it:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/api/alice/tasks
"""


def main() -> None:
    """Serve on DATABASE_URL, or on the embedded PostgreSQL after migrating it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # stop what was started, too
    if load(Given).database_url:
        return serve()
    with migrated():
        settings = load(Settings)
        token = make_token("alice", settings)
        print(TRY.format(token=token, host=settings.host, port=settings.port), flush=True)
        return serve()
