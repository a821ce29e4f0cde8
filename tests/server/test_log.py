"""The log never delays a request, even if its reader is blocked, and counts dropped lines."""

import fcntl
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from select import PIPE_BUF

import httpx
import jwt
import pytest
from conftest import Server, environment_of, on_18
from support.faults import eventually

from app.server.log_writer import MAX_WAITING, LogWriter

Ends = tuple[int, int]
LINES = [f"{number:.>500}\n" for number in range(4 * MAX_WAITING // 500)]
REPORT = re.compile(r"(\d+) lines were dropped: the log could not be written\n")


def terminal() -> Ends:
    reader, writer = pty.openpty()
    tty.setraw(writer)
    return reader, writer


def connection() -> Ends:
    reader, writer = socket.socketpair()  # like the socket of journald
    return reader.detach(), writer.detach()


def shared_pipe() -> Ends:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # another process that shares the pipe may do this
    return reader, writer


@pytest.fixture(params=[os.pipe, shared_pipe, terminal, connection])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    made = request.param()
    yield made
    for end in made:
        os.close(end)


def read_until(reader: int, true: Callable[[str], bool]) -> str:
    text = ""
    while not true(text):
        text += os.read(reader, 65536).decode()
    return text


def settled(log: LogWriter) -> bool:
    """Return whether everything is written."""
    return not log.size


def test_lines_that_do_not_fit_are_dropped_counted_and_reported(ends: Ends) -> None:
    reader, writer = ends
    log = LogWriter(writer)
    for line in LINES:  # would hang if a line waited for the reader
        log.put(line)
    dropped = log.dropped
    assert 0 < dropped < len(LINES)
    text = read_until(reader, lambda text: text.endswith("written\n") and reported(text) == dropped)
    log.put("after\n")
    text += read_until(reader, lambda text: text.endswith("after\n"))
    written = REPORT.sub("", text).splitlines(keepends=True)
    assert len(written) == len(LINES) - dropped + 1
    assert written == [*sorted(set(written) & {*LINES}), "after\n"]
    assert (log.dropped, reported(text)) == (dropped, dropped)


def reported(text: str) -> int:
    return sum(int(number) for number in REPORT.findall(text))


def test_a_line_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = LogWriter(full)
    log.put("one\n")
    log.put("two\n")
    eventually(lambda: log.dropped == 2)
    file = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(file, full)  # there is room again
    log.put("three\n")
    eventually(lambda: settled(log))
    assert (tmp_path / "log").read_text() == "three\n2 lines were dropped: the log could not be written\n"
    os.close(full)
    os.close(file)


def test_a_closed_reader_does_not_end_the_process() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = LogWriter(writer)
    log.put("one\n")
    eventually(lambda: log.dropped == 1)
    os.close(writer)


def test_lines_are_written_in_pieces_that_a_pipe_writes_atomically(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []

    def write(_: int, lines: bytes) -> int:
        written.append(lines)
        return len(lines)

    monkeypatch.setattr(os, "write", write)
    lines = [f"{number:01000} \N{SNOWMAN}\n" for number in range(40)]
    log = LogWriter()
    for line in lines:
        log.put(line)
    eventually(lambda: settled(log))
    assert 1 < len(written) < len(lines)
    assert all(len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in written)
    assert b"".join(written).decode() == "".join(lines)


INTERRUPTED = """
import logging
from app.server import log_writer

def interrupted(make):
    def made(*arguments):
        logging.shutdown()  # as several._end does
        return make(*arguments)
    return made

log_writer.Event, log_writer.Lock = interrupted(log_writer.Event), interrupted(log_writer.Lock)
log_writer.LogWriter()
"""


def test_the_log_can_be_shut_down_during_its_setup() -> None:
    assert subprocess.run([sys.executable, "-c", INTERRUPTED], check=False).returncode == 0


@on_18
@pytest.mark.long
def test_a_log_that_nobody_reads_blocks_neither_requests_nor_the_stop(server: Server, database: str) -> None:
    """The lines are long, so that few requests fill the buffers."""
    settings = {"LOG_FORMAT": "json", "LOG_USERS": "id", "METRICS": "true", "WEB_CONCURRENCY": "2"}
    environment = environment_of(server.conninfo(database, "tasks_api"), settings)
    url, user = f"http://127.0.0.1:{environment['PORT']}", "\N{GRINNING FACE}" * 255
    token = jwt.encode({"sub": user, "exp": 2**33}, environment["JWT_SECRET"], "HS256")
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BUF)
    command = [sys.executable, "-m", "app", "run"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=writer)
        try:
            os.close(writer)
            read_until(reader, lambda text: text.count("Application startup complete") == 2)
            with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:

                def dropped() -> float:
                    for _ in range(50):
                        assert client.get(f"{url}/api/{user}/tasks").status_code == 200
                    metrics = client.get(f"{url}/metrics").text
                    return float(
                        re.findall(r"^tasks_log_lines_dropped_total (\S+)", metrics, re.MULTILINE)[0]
                    )

                eventually(lambda: dropped() > 0, 300)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(reader)


@on_18
def test_a_process_works_without_standard_streams(server: Server, database: str) -> None:
    """Otherwise a socket would get the descriptor of stderr, and the log would be sent to it."""
    environment = environment_of(server.conninfo(database, "tasks_api"), {"LOG_FORMAT": "json"})
    url = f"http://127.0.0.1:{environment['PORT']}"
    command = ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m app run <&- >&- 2>&-"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, env=environment)
        try:
            eventually(lambda: answers(f"{url}/ready"), 60)
            for number in range(3):
                assert Path(f"/proc/{process.pid}/fd/{number}").readlink() == Path(os.devnull)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False
