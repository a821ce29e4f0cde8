"""Several processes that share the port and end together; one that ends alone gets a successor."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic

import uvicorn
from uvicorn import _subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import SIGNALS, Multiprocess, Process

SOON = 60  # seconds within which another end makes the next start wait
MAX_PAUSE = 16  # seconds between two starts

logger = logging.getLogger("uvicorn.error")


class Supervisor(Multiprocess):
    """Uvicorn's, which says how a process ended, and waits longer each time when that happens soon again."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], object]
    ) -> None:
        super().__init__(config, sockets)
        self.announce = announce
        self.served = self.refused = False
        self.ended: list[Process] = []  # those that have no successor yet
        self.pause, self.last_end, self.next_start = 0.0, -SOON * 1.0, 0.0

    def handle_signals(self) -> None:
        """Do what signals ask for, or go on as it was where no process can be started."""
        with self._reported():
            super().handle_signals()

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
            with self._reported():
                while self.ended:
                    self.processes[self.processes.index(self.ended[0])] = self._start()
                    del self.ended[0]

    def _lives(self, process: Process) -> bool:
        """Tell whether it answers; end it where it does not."""
        process.child_conn.close()  # so that one that ends is not waited for until its answer is due
        timeout = self.config.timeout_worker_healthcheck
        if process.is_alive(timeout):
            if not self.served and process.is_ready(timeout):
                self.served = True
                self.announce()
            return True
        process.kill()
        process.join()
        return False

    def _start(self) -> Process:
        process = Process(self.config, self.sockets)
        process.start()
        return process

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Say that no process can be started, and when it is tried again."""
        try:
            yield
        except OSError as error:
            self._wait_longer()
            logger.error("No process can be started: %s", error.strerror)  # noqa: TRY400 - that is all there is

    def _wait_longer(self) -> None:
        """Wait for nothing after a single end, then 1 s, and twice as long each time."""
        now = monotonic()
        self.pause = min(self.pause * 2 or 1, MAX_PAUSE) if now - self.last_end < SOON else 0
        self.last_end, self.next_start = now, now + self.pause


def _end(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def serve_in_several(config: uvicorn.Config, announce: Callable[[], object], *, counted: bool) -> int:
    """Serve in processes of their own; where the first is refused its start, end them all."""
    if sys.platform == "linux":  # elsewhere, what libraries of the system do in threads does not survive it
        fork_processes()
    with TemporaryDirectory() as folder:
        if counted:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        supervisor = Supervisor(config, [config.bind_socket()], announce)
        supervisor.run()
    return STARTUP_FAILURE if supervisor.refused else 0


def fork_processes() -> None:
    """Have processes forked, not spawned: all is imported once."""
    _subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_forget_signals)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _forget_signals() -> None:
    """Take none for the parent's: one that comes before the new process handles it ends that process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _let_signals()


def end_with_parent() -> None:
    """Stop when the parent is gone: killed, it cannot say so, and the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent:
        Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
