"""Fault injection: a PostgreSQL server that can be killed, a proxy that can break connections, PgBouncer."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from conftest import BINARIES, ELSEWHERE, LOCALE, free_port
from embedded.programs import account

from app.commands import migrations

NOBODY = "nobody" if os.geteuid() == 0 else None  # PostgreSQL and PgBouncer refuse to run as root


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Cluster:
    """A PostgreSQL server that a test may kill. It listens on the loopback and needs no passwords."""

    def __init__(self, version: str, folder: Path) -> None:
        self.binaries = BINARIES.get(version) or Path(version)  # `version` may be the folder of the programs
        self.folder, self.data = folder, folder / "data"
        account(self.data, self.binaries)  # lets other users execute the programs
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        shutil.chown(folder, NOBODY or os.geteuid())
        (folder / "log").touch()
        shutil.chown(folder / "log", NOBODY or os.geteuid())
        locale = LOCALE.get(version, ELSEWHERE)
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", *locale, "--no-sync")
        command = [str(self.binaries / "initdb"), "-D", str(self.data), *options, "--wal-segsize=1"]
        subprocess.run(command, user=NOBODY, check=True, stdout=subprocess.DEVNULL)

    def conninfo(self, database: str = "postgres", user: str = "postgres", port: int = 0) -> str:
        return f"host=127.0.0.1 port={port or self.port} dbname={database} user={user}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        # Also to a standby: the API, if it runs in this process, sets PGTARGETSESSIONATTRS.
        return psycopg.connect(self.conninfo(database), autocommit=True, target_session_attrs="any")

    def start(self, **settings: object) -> None:
        """Start the server and wait until it accepts connections."""
        settings |= {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in settings.items()]
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with (self.folder / "log").open("ab") as log:
                command = [str(self.binaries / "postgres"), "-D", str(self.data), *options]
                self.process = subprocess.Popen(command, user=NOBODY, stderr=log)
            while self.process.poll() is None and time.monotonic() < deadline:
                with suppress(psycopg.OperationalError), self.connect():
                    return
                time.sleep(0.02)  # starting up
            time.sleep(0.1)  # processes of the killed server still hold its shared memory
        raise AssertionError((self.folder / "log").read_text())

    def end(self, how: signal.Signals) -> None:
        """End the server: SIGINT is a fast shutdown, SIGQUIT an immediate one, SIGKILL a crash."""
        assert self.process
        self.process.send_signal(how)
        self.process.wait(60)

    def migrated(self, database: str = "tasks") -> str:
        """Create a migrated database and allow tasks_api to log in; return its name."""
        with self.connect() as connection:
            connection.execute(f"create database {database}")
        migrations.migrate(self.conninfo(database))
        with self.connect() as connection:
            connection.execute("alter role tasks_api login")
        return database


@contextmanager
def cluster(version: str, parent: Path | None = None) -> Iterator[Cluster]:
    """Create a server, which the test starts. It is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="faults", dir=parent))
    made = Cluster(version, folder)
    try:
        yield made
    finally:
        if made.process and made.process.poll() is None:
            made.end(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


class Network:
    """A TCP proxy in front of `port` of the loopback, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, free_port()
        self.delay = 0.0  # seconds by which each piece of data is delayed
        self.hanging = False  # if set, no data is passed on
        self.cut: Callable[[bytes], bool] = lambda _: (
            False
        )  # return True to pass this piece on without its response
        self.writers: set[asyncio.StreamWriter] = set()
        self.dropped = asyncio.Event()  # a response came that was not passed on
        self.started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._accept, "127.0.0.1", self.port):
            self.started.set()
            await self.stopped.wait()
            self._reset()
            await asyncio.sleep(0.05)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, onwards = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, onwards}
        try:
            await self._serve((reader, writer), (upstream, onwards))
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup):
            pass
        finally:
            for end in (writer, onwards):
                self.writers.discard(end)
                end.transport.abort()

    async def _serve(self, client: Ends, server: Ends) -> None:
        there = asyncio.create_task(self._pass(client[0], server[1], client[1]))
        back = asyncio.create_task(self._pass(server[0], client[1]))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                await asyncio.sleep(self.delay)
                while self.hanging:  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.02)
                if client and self.cut(piece):
                    self.writers.discard(client[0])
                    self.dropped.clear()
                    writer.write(piece)
                    await self.dropped.wait()  # the server has executed it, and the client gets no response
                    return
                if writer in self.writers:
                    writer.write(piece)
                    await writer.drain()
                else:
                    self.dropped.set()

    def drop(self) -> None:
        """Reset all connections."""
        self.loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in list(self.writers):
            writer.transport.abort()


class Splitter(Network):
    """A pooler that ends the transaction after each statement of a pipeline, unnoticed by the client."""

    async def _serve(self, client: Ends, server: Ends) -> None:
        (reader, writer), (upstream, onwards) = client, server
        size = await reader.readexactly(4)
        onwards.write(size + await reader.readexactly(int.from_bytes(size) - 4))  # the start-up message
        inserted: list[bool] = []  # for each Sync: whether this pooler inserted it

        async def there() -> None:
            while True:
                kind, message = await self._message(reader)
                onwards.write(message)
                if kind in b"ES":
                    inserted.append(kind == b"E")
                    onwards.write(b"S\0\0\0\4" if kind == b"E" else b"")

        async def back() -> None:
            while True:
                kind, message = await self._message(upstream)
                if kind != b"Z" or not inserted or not inserted.pop(0):
                    writer.write(message)

        async with asyncio.TaskGroup() as group:
            group.create_task(there())
            group.create_task(back())

    async def _message(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        head = await reader.readexactly(5)
        return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


@contextmanager
def network(port: int, kind: type[Network] = Network) -> Iterator[Network]:
    """Run a proxy in front of a port."""
    made = kind(port)
    made.thread.start()
    assert made.started.wait(60)
    try:
        yield made
    finally:
        made.loop.call_soon_threadsafe(made.stopped.set)
        made.thread.join(60)


PGBOUNCER = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
INI = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
max_client_conn = 1000
default_pool_size = 2
logfile = {folder}/log
"""
# PgBouncer 1.22 and later support prepared statements, unless max_prepared_statements is 0.
KEEPS_PREPARED = PGBOUNCER and not re.search(
    r"PgBouncer 1[.](1?\d|2[01])[.]", subprocess.check_output([PGBOUNCER, "--version"], text=True)
)


@contextmanager
def pgbouncer(
    postgres: Cluster, mode: str = "transaction", database: str = "tasks", prepared: int = 0
) -> Iterator[int]:
    """Run PgBouncer with two connections to the server; yield its port."""
    folder, port = Path(tempfile.mkdtemp(prefix="pooler")), free_port()
    (folder / "users").write_text('"tasks_api" ""\n')
    (folder / "ini").write_text(
        INI.format(server=postgres.port, port=port, folder=folder, mode=mode)
        + (f"max_prepared_statements = {prepared}\n" if KEEPS_PREPARED else "")
    )
    shutil.chown(folder, NOBODY or os.geteuid())
    assert PGBOUNCER, "apt-get install pgbouncer"
    process = subprocess.Popen([PGBOUNCER, str(folder / "ini")], user=NOBODY, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: connects(postgres.conninfo(database, "tasks_api", port)))
        yield port
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def connects(conninfo: str) -> bool:
    """Return whether a database accepts a connection."""
    with suppress(psycopg.OperationalError):
        psycopg.connect(conninfo).close()
        return True
    return False


def eventually(true: Callable[[], bool], seconds: float = 60) -> float:
    """Wait until a condition is true; return the seconds it took. The limit is long for busy machines."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - began
