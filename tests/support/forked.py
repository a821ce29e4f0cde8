"""A server process, forked from a process that has already imported the application."""

import os
import signal
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import uvicorn


class Forked(ForkServerProcess):
    """A multiprocessing process with some of the methods of subprocess.Popen."""

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float) -> int:
        self.join(timeout)
        assert self.exitcode is not None, f"it still runs after {timeout} s"
        return self.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        os.kill(self.pid, how)

    @property
    def pid(self) -> int:
        pid = super().pid
        assert pid, "it was not started"
        return pid


def preload() -> None:
    """Start to import the application in the fork server, in the background."""
    forkserver.set_forkserver_preload(["app.server.run"])
    forkserver.ensure_running()


def serve(environment: dict[str, str], folder: str, max_age: int, max_wait: int) -> None:
    """Do in the forked process what `python -m app run` does, or what uvicorn does with another parser."""
    from app.api import health  # noqa: PLC0415 - imported before the fork
    from app.postgres import fair_queue  # noqa: PLC0415
    from app.server import run  # noqa: PLC0415

    parser = environment.pop("PARSER", "ours")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with Path("log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    health.MAX_AGE = max_age
    fair_queue.MAX_WAIT = max_wait
    if parser != "ours":
        uvicorn.run("app.main:app", http=parser, port=int(environment["PORT"]), timeout_keep_alive=75)
    run.serve()
