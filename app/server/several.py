"""Several processes that share the port and end together; one that ends alone gets a successor."""

import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic

import uvicorn
from uvicorn import _subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

SOON = 60  # seconds within which another end makes the next start wait
MAX_PAUSE = 16  # seconds between two starts

logger = logging.getLogger("uvicorn.error")


class Supervisor(Multiprocess):
    """Uvicorn's, which says how a process ended, and waits longer each time when that happens soon again."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.served = self.refused = False
        self.ended: list[Process] = []  # those that have no successor yet
        self.pause, self.last_end, self.next_start = 0.0, -SOON * 1.0, 0.0

    def keep_subprocess_alive(self) -> None:
        """Look after the processes; called twice a second."""
        if self.should_exit.is_set():  # by a signal, which was looked after before
            return
        ended = [each for each in self.processes if each not in self.ended and not self._lives(each)]
        if any(each.exitcode == STARTUP_FAILURE for each in ended) and not self.served:
            self.refused = True
            self.should_exit.set()
            return
        if ended:
            self._wait_longer()
        for each in ended:
            how = _end(each.exitcode or 0)
            logger.error("Process [%s] ended: %s; another in %d s", each.pid, how, self.pause)
        self.ended += ended
        if monotonic() >= self.next_start:
            self.processes = [self._start() if each in self.ended else each for each in self.processes]
            self.ended.clear()

    def _lives(self, process: Process) -> bool:
        """Tell whether it answers; end it where it does not."""
        process.child_conn.close()  # so that one that ends is not waited for until its answer is due
        timeout = self.config.timeout_worker_healthcheck
        if process.is_alive(timeout):
            self.served = self.served or process.is_ready(timeout)
            return True
        process.kill()
        process.join()
        return False

    def _start(self) -> Process:
        process = Process(self.config, self.sockets)
        process.start()
        return process

    def _wait_longer(self) -> None:
        """Wait for nothing after a single end, then 1 s, and twice as long each time."""
        now = monotonic()
        self.pause = min(self.pause * 2 or 1, MAX_PAUSE) if now - self.last_end < SOON else 0
        self.last_end, self.next_start = now, now + self.pause


def _end(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def serve_in_several(config: uvicorn.Config, announce: Callable[[], object], *, counted: bool) -> int:
    """Serve in processes of their own; where the first is refused its start, end them all."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(["app.server.run"])
    _subprocess.spawn = forkserver  # type: ignore[assignment]  # which would import all of it in each
    with TemporaryDirectory() as folder:
        if counted:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        supervisor = Supervisor(config, [config.bind_socket()])
        announce()
        supervisor.run()
    return STARTUP_FAILURE if supervisor.refused else 0


def end_with_parent() -> None:
    """Stop when the parent is gone: killed, it cannot say so, and the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent:
        Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
