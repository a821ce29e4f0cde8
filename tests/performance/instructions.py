"""Counts the CPU instructions of the API per request, with callgrind of valgrind.

The instructions of the kernel and of the thread that writes the log are not counted. The figure of a list
varies most, since PostgreSQL's result arrives in a varying number of reads.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path

from conftest import ROOT, running

from performance import services

OPERATIONS = {
    "create": ("POST", "", {"title": "Buy milk", "description": "The blue one"}),
    "get one": ("GET", "/1", None),
    "update": ("PUT", "/1", {"title": "Buy oats"}),
    "list of 50": ("GET", "?limit=50", None),
}
USERS = [f"user{number}" for number in range(40)]
TOKENS = {user: services.token(user) for user in USERS}
TASKS = 50  # of each user, at first
REQUESTS = 200
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def main() -> None:
    """Print the instructions per request of the working tree, and of the commit in BASE, if it is set."""
    shutil.which("callgrind_control") or sys.exit("valgrind: is missing; install it")
    with tempfile.TemporaryDirectory(prefix="tasks") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        codes = {"here": ROOT}
        if base := os.environ.get("BASE"):
            codes[base] = folder / "code"
            codes[base].mkdir()
            archive = subprocess.run(
                ["git", "archive", base, "app", "sql"], check=True, stdout=subprocess.PIPE
            )
            subprocess.run(["tar", "x", "-C", codes[base]], check=True, input=archive.stdout)
        (folder / "postgres").mkdir()
        with (
            running("18", folder / "postgres") as server,
            server.template() as template,
            server.database(template) as database,
        ):
            counts = {
                code: count(path, server.conninfo(database, "tasks_api")) for code, path in codes.items()
            }
    for operation in OPERATIONS:
        here = counts["here"][operation]
        line = f"{operation:10} {here:9,}"
        for code in codes.keys() - {"here"}:
            before = counts[code][operation]
            line += f"   {code} {before:9,}   {here / before - 1:+.1%}"
        print(line)


def count(code: Path, conninfo: str) -> dict[str, int]:
    """Return the instructions of each operation, measured with one request at a time."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = [
            *("valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={folder}/counts"),
            *("--instr-atstart=no", "--separate-threads=yes"),  # neither the start nor the thread of the log
        ]
        settings = {
            "PYTHONPATH": str(code),
            "PYTHONHASHSEED": "0",
            "POOL_SIZE": "1",
            "DATABASE_URL": conninfo,
            "ON_HOLE": "warn",  # an older audit does not know newer tables
        }
        with services.serving(*callgrind, sys.executable, "-m", "app", "run", **settings) as api:
            return _count(api, Path(folder))


def _count(api: services.Service, folder: Path) -> dict[str, int]:
    client = HTTPConnection(api.url.removeprefix("http://"))
    for _ in range(TASKS):
        _ask(client, "create", len(USERS))
    counts = {}
    for operation in OPERATIONS:
        _ask(client, operation, len(USERS))
        _control("--instr=on", api)
        _control("--zero", api)
        _ask(client, operation, REQUESTS)
        _control("--dump", api)
        _control("--instr=off", api)
        newest = max(folder.glob("counts.*-01"), key=lambda path: path.stat().st_mtime_ns)  # the main thread
        total = re.search(TOTAL, newest.read_text())
        assert total, newest
        counts[operation] = int(total[1]) // REQUESTS
    return counts


def _control(what: str, api: services.Service) -> None:
    subprocess.run(["callgrind_control", what, str(api.process.pid)], check=True, capture_output=True)


def _ask(client: HTTPConnection, operation: str, times: int) -> None:
    """Send requests, each of the next user."""
    method, target, body = OPERATIONS[operation]
    for number in range(times):
        user = USERS[number % len(USERS)]
        path = f"/api/{user}/tasks{target}"
        content = None if body is None else json.dumps(body)
        client.request(method, path, content, {"Authorization": f"Bearer {TOKENS[user]}"})
        answer = client.getresponse()
        assert answer.status < 300, answer.read()
        answer.read()


if __name__ == "__main__":
    main()
