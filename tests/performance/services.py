"""The services that are compared: processes whose CPU time and memory are read from /proc."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
from conftest import ROOT, Server, free_port

TICK = os.sysconf("SC_CLK_TCK")
SECRET = secrets.token_hex(32)  # of all services, so that they accept the same tokens
PACKAGES = ROOT / ".venv" / "bench"  # of the peer
POOL = 10  # connections of each service to the database
FASTIFY = ROOT / "tests" / "performance" / "fastify"
NPM_OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")


@dataclass(frozen=True)
class Service:
    """A process that serves HTTP, and the seconds that its start took."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    started: float

    @property
    def cpu(self) -> float:
        """The CPU time of the process in microseconds."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / TICK

    @property
    def memory(self) -> float:
        """The resident memory in MB; if there are several processes, that of the largest."""
        workers = self._proc(f"task/{self.process.pid}/children").split()
        return max(map(self._resident, [self.process.pid, *map(int, workers)]))

    def _resident(self, pid: int) -> float:
        lines = self._proc("status", pid).splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024

    def _proc(self, name: str, pid: int | None = None) -> str:
        return Path(f"/proc/{pid or self.process.pid}/{name}").read_text()


@contextmanager
def serving(*command: str, **environment: str) -> Iterator[Service]:
    """Run a command that serves on PORT."""
    port = free_port()
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{PACKAGES}",
        "PORT": str(port),
        "JWT_SECRET": SECRET,
    }
    folder = Path(tempfile.mkdtemp(prefix="tasks"))  # without a .env
    log = folder / "log"
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=given | environment,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process, command[-1], log)
        yield Service(command[-1], url, process, time.monotonic() - begun)
    finally:
        process.terminate()
        process.wait(60)  # under callgrind this takes long
        shutil.rmtree(folder)


def _await(url: str, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    while process.poll() is None:
        try:
            httpx.get(f"{url}/health")  # any response shows that it serves
        except httpx.TransportError:
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"{name} did not start:\n{log.read_text()}")


def api(conninfo: str, **settings: str) -> AbstractContextManager[Service]:
    """Run this project's API."""
    return serving(
        sys.executable, "-m", "app", "run", **{"DATABASE_URL": conninfo, "POOL_SIZE": str(POOL)} | settings
    )


def other(app: str, **settings: str) -> AbstractContextManager[Service]:
    """Run another ASGI application."""
    return serving(sys.executable, "-m", "performance.serve", app, **{"POOL_SIZE": str(POOL)} | settings)


def fastify(server: Server, database: str = "tasks") -> AbstractContextManager[Service]:
    """Install and run the service on Node."""
    subprocess.run(["npm", "ci", *NPM_OPTIONS], cwd=FASTIFY, check=True, stdout=subprocess.DEVNULL)
    address = {"PGHOST": server.host, "PGUSER": "tasks_api", "PGDATABASE": database, "POOL_SIZE": str(POOL)}
    return serving("node", str(FASTIFY / "server.mjs"), NODE_ENV="production", **address)


def token(user: str) -> str:
    """Return a token that all services accept."""
    return jwt.encode({"sub": user, "iat": int(time.time()), "exp": int(time.time()) + 7200}, SECRET, "HS256")
