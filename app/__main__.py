"""The commands: python -m app run, or any other of COMMANDS; `make` knows them too."""

import signal
import sys
from importlib import import_module

# Each imports only what it needs: most start in half the time that serving takes.
COMMANDS = {
    "run": "app.server.run:serve",
    "token": "app.commands.token:main",
    "psql": "app.commands.psql:main",
    "migrate": "app.commands.database:migrate",
    "rollback": "app.commands.database:rollback",
    "migrations": "app.commands.database:show",
    "audit": "app.commands.database:audit",
    "prove": "app.commands.database:prove",
    "policies": "app.commands.database:policies",
    "report": "app.commands.database:page_of_it",
}


def main() -> None:
    """Run the command that the first argument names."""
    module, _, function = COMMANDS.get(" ".join(sys.argv[1:]), "").partition(":")
    if not module:
        sys.exit(f"usage: python -m app {'|'.join(COMMANDS)}")
    try:
        getattr(import_module(module), function)()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
