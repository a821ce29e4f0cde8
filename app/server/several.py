"""Several processes that share the port and end together; one that ends alone gets a successor.

Uvicorn's own supervisor waits without a limit for a process that is stopped or hangs, takes no signal
meanwhile, and ends all processes where one ends while the database is away.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, sleep

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.server.metrics_folder import VARIABLE, usable_folder
from app.server.uvicorn_server import Server

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
TICK = 0.5  # seconds between two looks at signals and processes
HEARTBEAT = 0.05, 1  # seconds between two signs of life, before a process serves and while it does
HUNG_AFTER = 15  # seconds without a sign of life, on a busy machine too
STOP_MARGIN = 3  # seconds to end in, after the time for accepted requests
SOON = 60  # seconds within which another end makes the next start wait
MAX_PAUSE = 16  # seconds between two starts

# Forked, all is imported once. Elsewhere than on Linux, threads of the system's libraries do not survive it.
context: ForkContext | SpawnContext = ForkContext() if sys.platform == "linux" else SpawnContext()
logger = logging.getLogger("uvicorn.error")


class Worker:
    """A process that serves, as its parent sees it."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        self.connection, other_end = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(config, listening, other_end))
        with _signals_held():
            self.process.start()
        other_end.close()
        self.heard = monotonic()
        self.serves = False
        self.deadline = float("inf")

    @property
    def name(self) -> str:
        """How the log names it."""
        return f"Process [{self.process.pid}]"

    def listen(self) -> bool:
        """Take its signs of life; return whether it lives, and end it where it hangs or stops too slowly."""
        try:
            while self.connection.poll():
                self.serves, self.heard = self.connection.recv(), monotonic()
            if monotonic() < min(self.heard + HUNG_AFTER, self.deadline):
                return True
        except (EOFError, OSError):
            self.process.join(STOP_MARGIN)  # it is ending, with a status of its own
        self.process.kill()
        self.process.join()
        self.connection.close()
        return False

    def stop(self, seconds: float) -> None:
        """Have it finish what it accepted; one that was stopped (SIGSTOP) takes the signal as it goes on."""
        self.deadline = monotonic() + seconds
        self.process.terminate()
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGCONT)

    def end(self) -> str:
        """Say how it ended."""
        status = self.process.exitcode or 0
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


class Supervisor:
    """Keeps as many processes as are wanted; waits longer for each successor where ends come soon again."""

    def __init__(
        self, config: uvicorn.Config, listening: socket.socket, announce: Callable[[], object]
    ) -> None:
        self.config, self.listening, self.announce = config, listening, announce
        self.wanted = config.workers
        self.workers: list[Worker] = []
        self.replaced: list[Worker] = []  # those of the workers that SIGHUP has still to replace
        self.stopping: list[Worker] = []
        self.must_end = self.served = self.refused = False
        self.pause, self.last_end, self.next_start = 0.0, -SOON * 1.0, 0.0
        self.signals: list[int] = []
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self.signals.append(number))

    def run(self) -> None:
        """Serve until a signal, or until the first process is refused its start."""
        logger.info("Started parent process [%d]", os.getpid())
        while not self.must_end:
            self._start_missing()
            self._await_news()
            while self.signals:
                self._obey(signal.Signals(self.signals.pop(0)))
            if not self.must_end:  # Ctrl-C ends the processes, too
                self._look_after()
        self.listening.close()  # or clients would wait for an answer as long as this process ends
        while self.workers:
            self._stop(self.workers[-1])
        while self.stopping:
            self._await_news()
            self._look_after()
        logger.info("Stopping parent process [%d]", os.getpid())

    def _await_news(self) -> None:
        """Wait for a sign of life or an end of a process, but not much longer than a signal may wait."""
        connections = [each.connection for each in (*self.workers, *self.stopping)]
        if not connections:
            sleep(TICK)
        wait(connections, TICK)

    def _obey(self, number: signal.Signals) -> None:
        logger.info("Received %s", number.name)
        if number == signal.SIGHUP:
            self.replaced = list(self.workers)
        elif number == signal.SIGTTIN:
            self.wanted += 1
        elif number == signal.SIGTTOU:
            self.wanted = max(1, self.wanted - 1)
        else:
            self.must_end = True

    def _start_missing(self) -> None:
        """Start and stop processes until there are as many as wanted; replace one at a time."""
        while len(self.workers) < self.wanted + bool(self.replaced) and monotonic() >= self.next_start:
            try:
                self.workers.append(Worker(self.config, self.listening))
            except OSError as error:
                self._wait_longer()
                logger.error("No process can be started: %s", error.strerror)  # noqa: TRY400 - that is all there is
        if self.replaced and self.workers[-1] not in self.replaced and self.workers[-1].serves:
            self._stop(self.replaced.pop(0))
        while len(self.workers) > self.wanted + bool(self.replaced):
            self._stop(self.workers[-1])

    def _stop(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.stopping.append(worker)
        worker.stop((self.config.timeout_graceful_shutdown or 0) + STOP_MARGIN)

    def _look_after(self) -> None:
        """See which processes serve, and which have ended."""
        for worker in [each for each in self.stopping if not each.listen()]:
            self.stopping.remove(worker)
            if (worker.process.exitcode or 0) < 0:
                logger.error("%s did not stop by itself: %s", worker.name, worker.end())
        ended = [each for each in self.workers if not each.listen()]
        self.workers = [each for each in self.workers if each not in ended]
        if not self.served and any(each.serves for each in self.workers):
            self.served = True
            self.announce()
        if not self.served and any(each.process.exitcode == STARTUP_FAILURE for each in ended):
            self.refused = self.must_end = True
            return
        if ended:
            self._wait_longer()
        for worker in ended:
            logger.error("%s ended: %s; another in %d s", worker.name, worker.end(), self.pause)
            # A successor that does not come to serve ends the replacing: what serves goes on.
            self.replaced = [each for each in self.replaced if each != worker and worker.serves]

    def _wait_longer(self) -> None:
        """Wait for nothing after a single end, then 1 s, and twice as long each time."""
        now = monotonic()
        self.pause = min(self.pause * 2 or 1, MAX_PAUSE) if now - self.last_end < SOON else 0
        self.last_end, self.next_start = now, now + self.pause


def serve_in_several(config: uvicorn.Config, announce: Callable[[], object], *, counted: bool) -> int:
    """Serve in processes of their own; where the first is refused its start, end them all."""
    with ExitStack() as stack:
        if counted and not usable_folder():
            try:
                os.environ[VARIABLE] = stack.enter_context(TemporaryDirectory())
            except OSError as error:
                logger.warning("%s: %s; each process counts by itself", VARIABLE, error)
        supervisor = Supervisor(config, config.bind_socket(), announce)
        supervisor.run()
    return STARTUP_FAILURE if supervisor.refused else 0


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while a process is started, which would take them for its parent's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _take_signals() -> None:
    """End at those that end a process, before uvicorn takes them and when it is done; ignore the others."""
    for number in SIGNALS:
        ends = number in (signal.SIGINT, signal.SIGTERM)
        signal.signal(number, _end if ends else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _end(*_: object) -> None:
    logging.shutdown()
    os._exit(0)  # an exception would be raised wherever the process is


def _serve(config: uvicorn.Config, listening: socket.socket, connection: Connection) -> None:
    """Be a process that serves."""
    _take_signals()
    config.configure_logging()
    server = Server(config)
    Thread(target=_show_life, args=(server, connection), daemon=True).start()
    Thread(target=_end_with_parent, daemon=True).start()
    server.run([listening])


def _show_life(server: uvicorn.Server, connection: Connection) -> None:
    with suppress(OSError):  # the parent has gone
        while True:
            connection.send(server.started)
            sleep(HEARTBEAT[server.started])


def _end_with_parent() -> None:
    """Stop when the parent is gone: killed, it cannot say so, and the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
