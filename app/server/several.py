"""Several processes that share the port and end together; one that ends alone gets a successor."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

# A file that is there as soon as one of several processes serves. Another that finds the database away then
# has not been started wrongly: it ends with a status that makes the parent start it again.
SERVED = "TASKS_SERVED"
AGAIN = 75  # EX_TEMPFAIL; uvicorn's STARTUP_FAILURE would end them all

SOON = 60  # seconds within which another end makes the next start wait
LONGEST = 16  # seconds between two starts

logger = logging.getLogger("uvicorn.error")


class Supervisor(Multiprocess):
    """Uvicorn's, which says how a process ended, and waits longer each time when that happens soon again."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.told: set[Process] = set()  # those that ended and have no successor yet
        self.pause, self.ended, self.next = 0.0, -SOON * 1.0, 0.0

    def keep_subprocess_alive(self) -> None:
        """Look after the processes; called twice a second."""
        processes = self.processes.copy()
        for process in processes:
            process.child_conn.close()  # so that one that ends is not waited for until its answer is due
        if self.should_exit.is_set() or any(each.exitcode == STARTUP_FAILURE for each in processes):
            return super().keep_subprocess_alive()  # which ends them all
        self._tell_ends(processes)
        if monotonic() >= self.next:
            super().keep_subprocess_alive()
            self._tell_ends(processes)  # one that ended only now has its successor already
            self.told.intersection_update(self.processes)
        return None

    def _tell_ends(self, processes: list[Process]) -> None:
        ended = [each for each in processes if each.exitcode is not None and each not in self.told]
        if ended:
            self._wait_longer()
        for process in ended:
            how = _end(process.exitcode or 0)
            logger.error("Process [%s] ended: %s; another in %d s", process.pid, how, self.pause)
        self.told.update(ended)

    def _wait_longer(self) -> None:
        """Wait for nothing after a single end, then 1 s, and twice as long each time."""
        now = monotonic()
        self.pause = min(self.pause * 2 or 1, LONGEST) if now - self.ended < SOON else 0
        self.ended, self.next = now, now + self.pause


def _end(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def serve_in_several(config: uvicorn.Config, announce: Callable[[], object], *, counted: bool) -> int:
    """Serve in processes of their own; where one is refused its start, end them all."""
    with TemporaryDirectory() as folder:
        if counted:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[SERVED] = f"{folder}/served"
        supervisor = Supervisor(config, [config.bind_socket()])
        announce()
        supervisor.run()
    refused = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if refused else 0


def end_with_parent() -> None:
    """Stop when the parent is gone: killed, it cannot say so, and the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent:
        Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def mark_serving() -> None:
    """Note that one of several processes serves."""
    if SERVED in os.environ:
        Path(os.environ[SERVED]).touch()


def another_serves() -> bool:
    """Tell whether one of several processes has served already."""
    return SERVED in os.environ and Path(os.environ[SERVED]).exists()


async def start_again() -> None:
    """End this process, in a moment, so that the parent starts another."""
    await asyncio.sleep(1)
    os._exit(AGAIN)
