"""A PostgreSQL server in a folder: started by the first process that needs it, stopped with the last."""

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
from embedded.programs import account, complaint, give

SOCKET = ".s.PGSQL.5432"
POSTGRES = ("-p", "5432", "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700")
INITDB = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
LONGEST = 103  # bytes of a socket's path: what macOS takes; Linux takes 107


@dataclass(frozen=True)
class Cluster:
    """The folder of one, and the one of initdb and postgres.

    File locks tell who uses it, for the kernel releases those of a process that is killed; a process number
    kept in a file may be another's by the time it is read.
    """

    home: Path
    programs: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder: there as soon as it is whole."""
        return self.home / "data"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run the server, or use the one that runs, and yield the folder of its socket."""
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
        """Return the server that runs here: the process in a left-over postmaster.pid may be any."""
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
        if alone:  # PostgreSQL would take whatever process has the number now for a server
            for left_over in ("postmaster.pid", f"{SOCKET}.lock"):
                (self.data / left_over).unlink(missing_ok=True)
        options = shlex.join(["-k", str(self._socket_folder(user)), *POSTGRES])
        with (self.home / "log").open("wb") as log:
            self._run("pg_ctl", "-D", self.data, "-t", "600", "-o", options, "start", stdout=log, **user)

    def _create(self, user: dict[str, Any]) -> None:
        """Make the data folder aside and rename it when it is whole: a half-made one is never used."""
        print(f"Setting up PostgreSQL in {self.home}, once: a few seconds", file=sys.stderr)
        left_over = [*self.home.glob("new-*")]
        with TemporaryDirectory(prefix="new-", dir=self.home, ignore_cleanup_errors=True) as folder:
            give(folder, user)
            made = self._run("initdb", "-D", f"{folder}/data", *INITDB, stdout=subprocess.PIPE, **user)
            if made.returncode:
                sys.exit(f"PostgreSQL cannot be set up in {self.home}: {complaint(made.stdout)}")
            Path(folder, "data").rename(self.data)
        for stray in left_over:  # only now: an initdb whose parent was killed has gone on for a while
            shutil.rmtree(stray, ignore_errors=True)

    def _socket_folder(self, user: dict[str, Any]) -> Path:
        """Choose a folder that no other user may enter: connecting needs no password."""
        if len(os.fsencode(self.data / SOCKET)) <= LONGEST:
            return self.data
        folder = mkdtemp(prefix="tasks-", dir="/tmp")  # of mode 0700; TMPDIR may be too long, too
        give(folder, user)
        return Path(folder)

    def _run(self, program: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs, in a locale that is there."""
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
        said = complaint(log.read_text(errors="replace"))
        sys.exit(
            f"PostgreSQL does not start: {said} (all of it is in {log}; to begin anew, delete {self.home})"
        )

    def _stop(self) -> None:
        if server := self._find():
            folder = Path(self._pid_file()[4])
            server.send_signal(signal.SIGINT)  # its "fast" way: open sessions are ended
            with suppress(psutil.TimeoutExpired):
                server.wait(60)
            with suppress(OSError):
                folder.rmdir()  # unless it is the data folder


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore a second Ctrl-C, and the like."""
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ends}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
