"""Writes the log in a thread, so that a blocked stderr does not block requests.

A write to stderr blocks while a pipe is full, while journald is stopped, and while Ctrl-S stops a terminal.
In the event loop such a write would stop all requests. O_NONBLOCK does not help, since it belongs to the open
file description, which other processes share. So lines wait in memory, up to MAX_WAITING bytes. Further lines
are dropped and counted; the log reports their number as soon as it can be written again.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from select import PIPE_BUF, POLLOUT, poll
from threading import Event, Lock, Thread, main_thread
from time import monotonic, sleep

STDERR = 2  # the file descriptor, since sys.stderr has a lock that a blocked write would hold at exit
MAX_WAITING = 2**20  # bytes
PAUSE = 0.02  # seconds between two writes, so that one write takes many lines under load
LAST_WAIT = 1  # seconds that an exit waits for the last write


def open_standard_streams() -> None:
    """Open /dev/null for closed standard streams (2>&-).

    Otherwise a socket could get file descriptor 2, and the log would be written to it.
    """
    for number in range(STDERR + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


class LogWriter(logging.Handler):
    """The only logging handler. The request log passes formatted lines to put()."""

    def __init__(self, descriptor: int = STDERR) -> None:
        self.descriptor = descriptor
        self.lines_lock = Lock()  # not held during a write
        self.lines: list[bytes] = []
        self.size = 0  # bytes of the lines that wait or are written right now
        self.dropped = 0  # lines dropped since startup
        self.unreported = 0  # lines dropped since the last report in the log
        self.torn = False  # whether the last write ended within a line
        self.has_news, self.must_end = Event(), Event()
        self.thread: Thread | None = None
        super().__init__()  # last, since from here on logging.shutdown() calls flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and pass it to the thread."""
        self.put(self.format(record) + "\n")

    def put(self, line: str) -> None:
        """Append a line for the thread to write, or drop it if the queue is full. Never block on stderr."""
        encoded = line.encode(errors="backslashreplace")
        with self.lines_lock:
            if self.size + len(encoded) > MAX_WAITING:
                self.dropped += 1
                self.unreported += 1
            else:
                self.lines.append(encoded)
                self.size += len(encoded)
            if not self.has_news.is_set():  # this check costs a third of setting an event that is already set
                self.has_news.set()
            if not self.thread:
                self._start()

    def flush(self) -> None:
        """Wait at the exit of the process until all lines are written, or for LAST_WAIT.

        In a process that was just forked this does nothing, since the thread does not exist there. It takes
        no lock that put() holds: a signal handler calls it.
        """
        if self.thread and self.thread.is_alive() and not self.must_end.is_set():
            self.must_end.set()
            end = monotonic() + LAST_WAIT
            while self.size and monotonic() < end:
                sleep(PAUSE)

    def _start(self) -> None:
        """Start the thread that writes, and a thread that calls flush() at exit.

        The first is a daemon, since it may be blocked forever. Python waits for the second. An atexit
        handler would not do, since multiprocessing does not run these in its processes.
        """
        self.thread = Thread(target=self._write_lines, name="log", daemon=True)
        self.thread.start()
        Thread(target=self._flush_at_end, name="end of the log").start()

    def _flush_at_end(self) -> None:
        main_thread().join()
        self.flush()

    def _write_lines(self) -> None:
        while True:
            self.has_news.wait()
            with self.lines_lock:
                self.has_news.clear()
                lines, self.lines = self.lines, []
                unreported, self.unreported = self.unreported, 0
            lost = sum(len(some) for some in _batches(lines) if not self._write(b"".join(some)))
            if unreported and self._write(self._report(unreported)):
                unreported = 0
            with self.lines_lock:
                self.dropped += lost
                self.unreported += unreported + lost
                self.size -= sum(map(len, lines))
            self.must_end.wait(PAUSE)

    def _report(self, number: int) -> bytes:
        text = f"{number} lines were dropped: the log could not be written"
        return self.format(logging.makeLogRecord({"levelname": "WARNING", "msg": text})).encode() + b"\n"

    def _write(self, lines: bytes) -> bool:
        """Write lines, and block until that is done. Return False if they cannot be written."""
        rest = b"\n" + lines if self.torn else lines
        try:
            while rest:
                with suppress(BlockingIOError):
                    rest = rest[os.write(self.descriptor, rest) :]
                    self.torn = bool(rest)
                    continue
                wait = poll()  # needed if another process has set O_NONBLOCK
                wait.register(self.descriptor, POLLOUT)
                wait.poll()
        except OSError:  # such as a full disk or a closed pipe
            return False
        return True


def _batches(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Yield groups of lines. A write of at most PIPE_BUF bytes to a pipe is atomic."""
    some: list[bytes] = []
    size = 0
    for line in lines:
        if some and size + len(line) > PIPE_BUF:
            yield some
            some, size = [], 0
        some.append(line)
        size += len(line)
    if some:
        yield some
