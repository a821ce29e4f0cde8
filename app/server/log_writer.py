"""Writes the log from a thread of its own, so that a reader that stops reading stops no request.

A write to stderr blocks while a pipe is full, while journald is stopped, while Ctrl-S holds a terminal. On
the event loop it would hold up every client. O_NONBLOCK is no way out: it belongs to the open file
description, which other processes share. So lines wait in memory, up to MAX_WAITING bytes. More lines are
dropped and counted, and as soon as the log can be written again, it says how many.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from select import PIPE_BUF, POLLOUT, poll
from threading import Event, Lock, Thread, main_thread

STDERR = 2  # by number: sys.stderr has a lock, which a write that hangs would keep until the end
MAX_WAITING = 2**20  # bytes
PAUSE = 0.02  # seconds between two writes: under load one switch of threads serves many lines
LAST_WAIT = 1  # seconds that the end of the process waits for the reader


def open_standard_streams() -> None:
    """Open those that are closed (2>&-): a socket would get the number, and the log be written into it."""
    for number in range(STDERR + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class LogWriter(logging.Handler):
    """The one handler of logging. The request log gives it lines that are formatted already."""

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.lock_of_lines = Lock()  # never held during a write
        self.lines: list[bytes] = []
        self.size = 0  # bytes of the lines that wait or are being written
        self.dropped = 0  # lines since the start
        self.unreported = 0  # lines dropped since the log last said how many
        self.torn = False  # the last write ended within a line
        self.has_news, self.is_empty, self.must_end = Event(), Event(), Event()
        self.thread: Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written."""
        self.put([self.format(record) + "\n"])

    def put(self, lines: list[str]) -> None:
        """Have lines written soon, after those before them, or drop them; never wait for the reader."""
        encoded = [line.encode(errors="backslashreplace") for line in lines]
        size = sum(map(len, encoded))
        with self.lock_of_lines:
            if self.size + size > MAX_WAITING:
                self.dropped += len(lines)
                self.unreported += len(lines)
            else:
                self.lines += encoded
                self.size += size
            if not self.has_news.is_set():  # a third of the cost where it is set
                self.is_empty.clear()
                self.has_news.set()
            if not self.thread:
                self._start()

    def flush(self) -> None:
        """Wait until all lines are written, or LAST_WAIT is over: the process ends.

        A process that was just forked has only a copy, without the thread and with a lock that may be held.
        """
        if self.thread and self.thread.is_alive() and not self.must_end.is_set():
            self.must_end.set()
            self.is_empty.wait(LAST_WAIT)

    def _start(self) -> None:
        """Start a thread that may hang in a write for good, and one that sees to the end of the process.

        Python waits for the second one. It runs no atexit handlers in processes of multiprocessing.
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
            with self.lock_of_lines:
                self.has_news.clear()
                lines, self.lines = self.lines, []
                unreported, self.unreported = self.unreported, 0
            lost = sum(len(some) for some in _together(lines) if not self._write(b"".join(some)))
            if unreported and self._write(self._report(unreported)):
                unreported = 0
            with self.lock_of_lines:
                self.dropped += lost
                self.unreported += unreported + lost
                self.size -= sum(map(len, lines))
                if not self.lines:
                    self.is_empty.set()
            self.must_end.wait(PAUSE)

    def _report(self, number: int) -> bytes:
        text = f"{number} lines were dropped: the log could not be written"
        return self.format(logging.makeLogRecord({"levelname": "WARNING", "msg": text})).encode() + b"\n"

    def _write(self, lines: bytes) -> bool:
        """Write lines, however long that takes; return whether they could be written."""
        rest = b"\n" + lines if self.torn else lines
        try:
            while rest:
                with suppress(BlockingIOError):
                    rest = rest[os.write(self.descriptor, rest) :]
                    self.torn = bool(rest)
                    continue
                wait = poll()  # another process has set O_NONBLOCK
                wait.register(self.descriptor, POLLOUT)
                wait.poll()
        except OSError:  # a full disk, a reader that has gone
            return False
        return True


def _together(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Yield as many lines at a time as a pipe keeps together when several processes write into it."""
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
