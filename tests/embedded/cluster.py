"""A PostgreSQL server in a folder: the first process that needs it starts it, the last one stops it."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import sleep
from typing import Any

import psutil

from embedded.locks import locked, opened, taken
from embedded.programs import account, find_error, give

SOCKET = ".s.PGSQL.5432"
POSTGRES = ("-p", "5432", "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700")
INITDB = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
LONGEST = 103  # the maximum length of a socket's path in bytes on macOS; 107 on Linux


@dataclass(frozen=True)
class Cluster:
    """A database cluster in `home`, run by the PostgreSQL programs in `programs`.

    Each process that uses the server holds a shared lock on a file. The kernel releases it if the process is
    killed. A file with process ids would not be safe, since ids are used again.
    """

    home: Path
    programs: Path

    @property
    def data(self) -> Path:
        """The data directory. It exists only once initdb has finished."""
        return self.home / "data"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start the server if it does not run, and yield the folder of its socket."""
        with opened(self.home / "users") as users:
            try:
                with locked(self.home / "lock"):
                    if not self._find():
                        self._start(alone=taken(users))
                    fcntl.flock(users, fcntl.LOCK_SH)
                    folder = self._wait()
                yield folder
            finally:
                with _uninterrupted(), locked(self.home / "lock"):
                    if taken(users):
                        self._stop()

    def _find(self) -> psutil.Process | None:
        """Return the running server, if any. A stale postmaster.pid may name any other process."""
        with suppress(OSError, ValueError, LookupError, psutil.Error):
            server = psutil.Process(int(self._pid_file()[0]))
            if server.name() == "postgres" and Path(server.cwd()).samefile(self.data):
                return server
        return None

    def _pid_file(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text().splitlines()

    def _start(self, *, alone: bool) -> None:
        user = account(self.data, self.programs)
        if not (self.data / "PG_VERSION").exists():
            self._create(user)
        for stray in self.home.glob("new-*"):  # if its parent was killed, initdb may still write to it
            shutil.rmtree(stray, ignore_errors=True)
        if alone:  # with a stale file PostgreSQL would take another process for a running server
            for left_over in ("postmaster.pid", f"{SOCKET}.lock"):
                (self.data / left_over).unlink(missing_ok=True)
        options = shlex.join(["-k", str(self._socket_folder(user)), *POSTGRES])
        with (self.home / "log").open("wb") as log:
            self._run("pg_ctl", "-D", self.data, "-t", "600", "-o", options, "start", stdout=log, **user)

    def _create(self, user: dict[str, Any]) -> None:
        """Run initdb in a temporary folder and rename it, so that an incomplete one is never used."""
        print(
            f"Setting up PostgreSQL in {self.home}. This happens once and takes a few seconds",
            file=sys.stderr,
        )
        with TemporaryDirectory(prefix="new-", dir=self.home, ignore_cleanup_errors=True) as folder:
            give(folder, user)
            made = self._run("initdb", "-D", f"{folder}/data", *INITDB, stdout=subprocess.PIPE, **user)
            if made.returncode:
                sys.exit(f"PostgreSQL cannot be set up in {self.home}: {find_error(made.stdout)}")
            Path(folder, "data").rename(self.data)

    def _socket_folder(self, user: dict[str, Any]) -> Path:
        """Return a folder that no other user can enter, since connections need no password."""
        if len(os.fsencode(self.data / SOCKET)) <= LONGEST:
            return self.data
        folder = mkdtemp(prefix="tasks-", dir="/tmp")  # of mode 0700; the path of TMPDIR may be too long, too
        give(folder, user)
        return Path(folder)

    def _run(self, program: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a PostgreSQL program in the locale C, which exists on all systems."""
        command = [str(self.programs / program), *map(str, arguments)]
        environment = os.environ | {"LC_ALL": "C"}
        return subprocess.run(
            command, stderr=subprocess.STDOUT, text=True, env=environment, check=False, **options
        )

    def _wait(self) -> str:
        """Wait until the server is ready; return the folder of its socket."""
        while self._find():
            lines = self._pid_file()
            if lines[-1].strip() == "ready":
                return lines[4]
            sleep(0.1)
        log = self.home / "log"
        reason = find_error(log.read_text(errors="replace"))
        sys.exit(f"PostgreSQL does not start: {reason} (see {log}; to start over, delete {self.home})")

    def _stop(self) -> None:
        if server := self._find():
            folder = Path(self._pid_file()[4])
            server.send_signal(signal.SIGINT)  # fast shutdown: sessions are terminated
            with suppress(psutil.TimeoutExpired):
                server.wait(60)
            with suppress(OSError):
                folder.rmdir()  # fails for the data folder, which is not empty


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore signals that would end the process, such as a second Ctrl-C."""
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ends}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
