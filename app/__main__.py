"""Command line: `python -m app COMMAND`. The Makefile has a target for each command."""

import signal
import sys
from importlib import import_module

from app import __version__

# The function and the help text of each command. Its module is imported when the command runs: importing all
# of them would double the start time of most commands.
COMMANDS = {
    "run": ("app.server.run:serve", "serve the API"),
    "check": ("app.commands.check:main", "run the startup checks without serving: settings, database, keys"),
    "token": ("app.commands.token:main", "print a token for the user in the variable AS"),
    "psql": ("app.commands.psql:main", "start psql as the user in the variable AS"),
    "migrate": ("app.commands.database:migrate", "apply the migrations that are not applied yet"),
    "rollback": ("app.commands.database:rollback", "undo the newest applied migration"),
    "migrations": ("app.commands.database:show", "list the migrations, applied or pending"),
    "audit": ("app.commands.database:audit", "report holes in the isolation of users; fail if there is one"),
    "prove": (
        "app.commands.database:prove",
        "try statements that must not reach other users' rows; fail if one does",
    ),
    "policies": ("app.commands.database:policies", "show which role may do what, by which grant and policy"),
    "report": (
        "app.commands.database:html_report",
        "write policies, findings and the attempts of prove to report.html, for an auditor",
    ),
}
USAGE = f"usage: python -m app {'|'.join(COMMANDS)}"
OPTIONS = {
    "--help": "\n".join([USAGE, "", *(f"  {name:<11} {does}" for name, (_, does) in COMMANDS.items())]),
    "--version": f"tasks-api {__version__}",
}


def main() -> None:
    """Run the command that the first argument names."""
    arguments = " ".join(sys.argv[1:])
    if arguments in OPTIONS:
        print(OPTIONS[arguments])
        return
    command = "audit" if arguments.startswith("audit ") else arguments  # the only command with options
    if command not in COMMANDS:
        sys.exit(f"{USAGE}, or --help or --version")
    module, _, function = COMMANDS[command][0].partition(":")
    try:
        getattr(import_module(module), function)()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
