"""A supervisor for several worker processes that share one listening socket (WEB_CONCURRENCY).

It starts the workers, replaces workers that exit or hang, and stops all of them. It is not needed if systemd,
containers or Kubernetes run several copies of the service. Uvicorn's own supervisor (uvicorn.supervisors)
waits without a limit for a worker that hangs, handles no signal meanwhile, and stops all workers if one
cannot start because the database is down (pull requests uvicorn #2987 and #2990 began to change this).
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
TICK = 0.5  # seconds between two checks of signals and workers
HEARTBEAT = 0.05, 1  # seconds between two heartbeats of a worker, before it serves and while it serves
HUNG_AFTER = 15  # seconds without a heartbeat; long enough for a busy machine
STOP_MARGIN = 3  # seconds that a worker may take to exit after the time for its requests
SOON = 60  # seconds within which a second exit delays the next start
MAX_PAUSE = 16  # seconds between two starts

# A forked worker does not import the application again. On systems other than Linux, system libraries are not
# safe after a fork.
context: ForkContext | SpawnContext = ForkContext() if sys.platform == "linux" else SpawnContext()
logger = logging.getLogger("uvicorn.error")


class Worker:
    """A worker process, as its supervisor sees it."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        self.connection, other_end = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(config, listening, other_end))
        with _blocked_signals():
            self.process.start()
        other_end.close()
        self.heard = monotonic()
        self.serves = False
        self.deadline = float("inf")

    @property
    def name(self) -> str:
        """The name of the worker in the log."""
        return f"Process [{self.process.pid}]"

    def is_alive(self) -> bool:
        """Read heartbeats. Return False if the worker has exited; kill it if it hangs or stops too slowly."""
        try:
            while self.connection.poll():
                self.serves, self.heard = self.connection.recv(), monotonic()
            if monotonic() < min(self.heard + HUNG_AFTER, self.deadline):
                return True
        except (EOFError, OSError):
            self.process.join(STOP_MARGIN)  # the worker is about to exit
        self.process.kill()
        self.process.join()
        self.connection.close()
        return False

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, after which a worker finishes its requests; and SIGCONT, in case it is stopped."""
        self.deadline = monotonic() + seconds
        self.process.terminate()
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGCONT)

    def end(self) -> str:
        """Return the exit status or the signal as text."""
        status = self.process.exitcode or 0
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


class Supervisor:
    """Keeps the wanted number of workers running. Repeated exits lengthen the pauses before starts."""

    def __init__(
        self, config: uvicorn.Config, listening: socket.socket, announce: Callable[[], object]
    ) -> None:
        self.config, self.listening, self.announce = config, listening, announce
        self.wanted = config.workers
        self.workers: list[Worker] = []
        self.replaced: list[Worker] = []  # workers that are to be replaced after a SIGHUP
        self.stopping: list[Worker] = []
        self.must_end = self.served = self.refused = False
        self.pause, self.last_end, self.next_start = 0.0, -SOON * 1.0, 0.0
        self.signals: list[int] = []
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self.signals.append(number))

    def run(self) -> None:
        """Run until a signal to stop, or until the first worker refuses to start."""
        logger.info("Started parent process [%d]", os.getpid())
        while not self.must_end:
            self._start_missing()
            self._wait_for_workers()
            while self.signals:
                self._handle(signal.Signals(self.signals.pop(0)))
            if not self.must_end:  # otherwise the same Ctrl-C may have ended them
                self._check_workers()
        self.listening.close()  # otherwise new clients would connect and get no response
        while self.workers:
            self._stop(self.workers[-1])
        while self.stopping:
            self._wait_for_workers()
            self._check_workers()
        logger.info("Stopping parent process [%d]", os.getpid())

    def _wait_for_workers(self) -> None:
        """Wait for a heartbeat or the exit of a worker, for TICK seconds at most, to handle signals."""
        connections = [each.connection for each in (*self.workers, *self.stopping)]
        wait(connections, TICK)

    def _handle(self, number: signal.Signals) -> None:
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
        """Start and stop workers until their number is as wanted. Replace one worker at a time."""
        while len(self.workers) < self.wanted + bool(self.replaced) and monotonic() >= self.next_start:
            try:
                self.workers.append(Worker(self.config, self.listening))
            except OSError as error:
                self._wait_longer()
                logger.error("No process can be started: %s", error.strerror)  # noqa: TRY400 - a traceback would add nothing
        if self.replaced and self.workers[-1] not in self.replaced and self.workers[-1].serves:
            self._stop(self.replaced.pop(0))
        while len(self.workers) > self.wanted + bool(self.replaced):
            self._stop(self.workers[-1])

    def _stop(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.stopping.append(worker)
        worker.stop((self.config.timeout_graceful_shutdown or 0) + STOP_MARGIN)

    def _check_workers(self) -> None:
        """Update which workers serve, and handle those that have exited."""
        for worker in [each for each in self.stopping if not each.is_alive()]:
            self.stopping.remove(worker)
            if (worker.process.exitcode or 0) < 0:
                logger.error("%s did not stop by itself: %s", worker.name, worker.end())
        ended = [each for each in self.workers if not each.is_alive()]
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
            logger.error("%s ended: %s; replaced in %d s", worker.name, worker.end(), self.pause)
            # If a new worker exits before it serves, the SIGHUP is abandoned and the old workers continue.
            self.replaced = [each for each in self.replaced if each != worker and worker.serves]

    def _wait_longer(self) -> None:
        """Delay the next start: not after a single exit, then for 1 s, then twice as long each time."""
        now = monotonic()
        self.pause = min(self.pause * 2 or 1, MAX_PAUSE) if now - self.last_end < SOON else 0
        self.last_end, self.next_start = now, now + self.pause


def supervise(config: uvicorn.Config, announce: Callable[[], object], *, with_metrics: bool) -> int:
    """Run a supervisor with its workers; return the exit status.

    If the first worker refuses to start, all are stopped.
    """
    with ExitStack() as stack:
        if with_metrics and not usable_folder():
            try:
                os.environ[VARIABLE] = stack.enter_context(TemporaryDirectory())
            except OSError as error:
                logger.warning("%s: %s; each process has separate metrics", VARIABLE, error)
        supervisor = Supervisor(config, config.bind_socket(), announce)
        supervisor.run()
    return STARTUP_FAILURE if supervisor.refused else 0


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block signals while a worker is forked, since it has the handlers of its parent at first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _set_handlers() -> None:
    """Exit on SIGINT and SIGTERM while uvicorn does not handle them; ignore the other signals."""
    for number in SIGNALS:
        ends = number in (signal.SIGINT, signal.SIGTERM)
        signal.signal(number, _end if ends else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _end(*_: object) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a second signal would interrupt the flush
    logging.shutdown()
    os._exit(0)  # not sys.exit(), whose exception could interrupt the program at any point


def _serve(config: uvicorn.Config, listening: socket.socket, connection: Connection) -> None:
    """Run a worker."""
    config.configure_logging()
    _set_handlers()  # after the logging, which they flush
    server = Server(config)
    Thread(target=_send_heartbeats, args=(server, connection), daemon=True).start()
    Thread(target=_stop_with_parent, daemon=True).start()
    server.run([listening])


def _send_heartbeats(server: uvicorn.Server, connection: Connection) -> None:
    with suppress(OSError):  # the supervisor has exited
        while True:
            connection.send(server.started)
            sleep(HEARTBEAT[server.started])


def _stop_with_parent() -> None:
    """Stop when the supervisor has exited. Otherwise the workers of a killed one would keep the port."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
