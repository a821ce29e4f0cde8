"""A connection that keeps its reader callback between statements, and gives no result to another request."""

import asyncio
import select
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from conftest import Server, on_18
from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from support.contract import until_blocked
from support.sockets import turns

from app.postgres import connection as module
from app.postgres import deadline
from app.postgres.connection import Connection, ConnectionLost
from app.postgres.database import ACT_AS, READ_AS

pytestmark = on_18

PID = "select pg_backend_pid()"
SLEEP = "select pg_sleep(10)"
Connect = Callable[[], Awaitable[Connection]]
Use = Callable[[Callable[[Connect], Awaitable[None]]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def use(request: pytest.FixtureRequest, server: Server, database: str) -> Use:
    """Run a coroutine function that gets a function to open connections."""
    conninfo = server.conninfo(database, "tasks_api")

    async def connect() -> Connection:
        return await Connection.connect(conninfo, autocommit=True, prepare_threshold=1)

    return lambda work: request.param(asyncio.wait_for(_run(work(connect)), 120))


async def _run(work: Awaitable[None]) -> None:
    await work


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long for cancellations, which take longer on a busy machine."""
    monkeypatch.setattr(module, "CANCEL_TIMEOUT", 60)


@pytest.fixture
def kill(server: Server) -> Callable[[int], None]:
    """Return a function that terminates a session of the server."""

    def kill(pid: int) -> None:
        with server.connect("postgres") as connection:
            connection.execute("select pg_terminate_backend(%s, 60000)", [pid])

    return kill


async def ask(connection: Connection, statement: str, identity: str = READ_AS, **values: str) -> Any:
    result = await connection.execute_pipeline((identity, statement), {"user_id": "alice", **values})
    ((value,),) = result
    return value


async def readable(connection: Connection) -> None:
    """Wait until the server has sent something or has closed the connection."""
    await asyncio.to_thread(select.select, [connection.socket], [], [], 60)


def test_the_reader_callback_stays_until_psycopg_waits(use: Use) -> None:
    async def work(connect: Connect) -> None:
        async with await connect() as connection:
            for _ in range(2):
                for _ in range(3):
                    assert await ask(connection, PID) == connection.info.backend_pid
                    assert connection.has_reader
                cursor = await connection.execute("select 1")
                assert await cursor.fetchone() == (1,)
                assert not connection.has_reader
            await ask(connection, PID)
        assert not connection.has_reader

    use(work)


def test_the_reader_callback_is_removed_when_the_server_closes(use: Use, kill: Callable[[int], None]) -> None:
    async def work(connect: Connect) -> None:
        connection = await connect()
        await ask(connection, PID)
        assert not connection.has_input()
        kill(connection.info.backend_pid)
        await readable(connection)
        await turns(3)
        assert connection.has_input()
        # Otherwise the event loop would call it again and again.
        assert not asyncio.get_running_loop().remove_reader(connection.socket)
        await connection.close()

    use(work)


def cut(listening: socket.socket, server: str, armed: threading.Event) -> None:
    """Forward data between client and server, and reset the connection in the middle of a result."""
    client, _ = listening.accept()
    held = b""
    with client, socket.socket(socket.AF_UNIX) as upstream:
        upstream.connect(server)
        while True:
            for ready in select.select([client, upstream], [], [])[0]:
                data = ready.recv(65536)
                if ready is client:
                    upstream.sendall(data)
                elif not armed.is_set():
                    client.sendall(data)
                elif len(held := held + data) > 20_000:  # more than libpq reads at once
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.sendall(held[:20_000])
                    return


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_reset_in_the_middle_of_a_result_is_detected_immediately(
    server: Server, database: str, run: Callable[[Any], None]
) -> None:
    given = conninfo_to_dict(server.conninfo(database, "tasks_api"))
    path = f"{given['host']}/.s.PGSQL.{given.get('port', 5432)}"
    armed = threading.Event()

    async def work(port: int) -> None:
        reached = make_conninfo("", **given | {"host": "127.0.0.1", "port": port})
        connection = await Connection.connect(reached, autocommit=True, prepare_threshold=1)
        await ask(connection, PID)
        armed.set()
        asyncio.get_running_loop().call_later(0.001, time.sleep, 0.1)  # data and reset arrive meanwhile
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(ask(connection, "select repeat('x', 200000)"), 60)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        between = threading.Thread(target=cut, args=(listening, path, armed))
        between.start()
        run(work(listening.getsockname()[1]))
        between.join(60)


@pytest.mark.parametrize("when", ["idle", "asked"])
def test_the_next_connection_with_the_same_descriptor_works(
    use: Use, kill: Callable[[int], None], when: str
) -> None:
    async def work(connect: Connect) -> None:
        sockets = []
        for _ in range(5):
            connection = await connect()
            sockets.append(connection.socket)
            await ask(connection, PID)
            if when == "asked":
                asked = asyncio.create_task(ask(connection, SLEEP))
                await asyncio.sleep(0.05)
                await asyncio.to_thread(kill, connection.info.backend_pid)
                with pytest.raises(ConnectionLost):
                    await asked
            else:
                kill(connection.info.backend_pid)
            await connection.close()
        assert len(set(sockets)) < len(sockets)

    use(work)


def test_a_statement_larger_than_the_sockets_buffer_is_sent(use: Use) -> None:
    async def work(connect: Connect) -> None:
        async with await connect() as connection:
            size = 3_000_000  # a socket's buffer has some hundred thousand bytes
            assert int(await ask(connection, "select length(%(text)s::text)", text="x" * size)) == size
            assert await ask(connection, PID) == connection.info.backend_pid

    use(work)


@pytest.mark.parametrize("text", ["", "x" * 30_000_000], ids=["asked", "being sent"])
def test_after_a_cancelled_statement_the_next_one_gets_its_own_result(use: Use, text: str) -> None:
    async def work(connect: Connect) -> None:
        async with await connect() as connection:
            for statement in (SLEEP, "select count(*) from generate_series(1, 1e8)"):
                asked = asyncio.create_task(ask(connection, statement + " where %(text)s <> ' '", text=text))
                await asyncio.sleep(0.05)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
                if connection.closed:
                    assert text  # a statement that was sent in part cannot be cancelled
                    return
                assert connection.pgconn.transaction_status == TransactionStatus.IDLE
                assert await ask(connection, PID) == connection.info.backend_pid

    use(work)


def test_a_cancellation_that_comes_too_late_closes_the_connection(
    server: Server, database: str, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancel request may arrive late, and would cancel the next statement."""
    with server.connect(database) as other:
        other.execute("select pg_advisory_lock(1)")

        async def late(connection: Connection, **__: float) -> None:
            await asyncio.to_thread(other.execute, "select pg_advisory_unlock(1)")
            await readable(connection)

        async def work(connect: Connect) -> None:
            connection = await connect()
            monkeypatch.setattr(Connection, "cancel_safe", late)
            asked = asyncio.create_task(ask(connection, "select pg_advisory_lock(1)"))
            await asyncio.to_thread(until_blocked, other)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert connection.closed

        use(work)


def test_a_statement_over_the_deadline_raises_an_error_and_is_cancelled(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "TIME_LIMIT", 0.4)

    async def work(connect: Connect) -> None:
        client = deadline.Client(keeps_timer=True)
        async with await connect() as connection:
            with client:
                await ask(connection, "select pg_sleep(0.2)")
            timer = client.timer
            with pytest.raises(OperationalError, match="no response within"), client:
                await ask(connection, SLEEP, ACT_AS)
            assert timer is not client.timer  # it was set again at the end of the first time limit
            with client:
                assert await ask(connection, PID) == connection.info.backend_pid

    use(work)
