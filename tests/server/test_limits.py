"""Limits of a client's connection, and of the connections to the database."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from time import monotonic

import pytest
import uvicorn
import uvloop
from conftest import Api, Person, Server
from psycopg import sql
from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolTimeout
from starlette.types import Message, Receive, Scope, Send
from support.contract import until_blocked
from support.faults import eventually
from support.load import port_of
from support.sockets import connect, listening
from uvicorn.server import ServerState

from app.api.edge import EdgeMiddleware
from app.postgres import deadline, fair_queue, pool
from app.postgres.connection import NoConnection
from app.postgres.database import ACT_AS, READ_AS, Database
from app.server import protocol, uvicorn_server
from app.server.run import BACKLOG
from app.settings import Settings, load

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
PID = "select pg_backend_pid()"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


CLIENT_TIMEOUT = 0.2  # seconds, in these tests


def test_only_a_single_process_accepts_several_connections_per_iteration_of_the_event_loop() -> None:
    async def accepted(clients: int, workers: int) -> int:
        """Return the number of iterations until this many connections are accepted."""
        config = uvicorn.Config(
            slow_app, lifespan="off", log_config=None, http=protocol.Protocol, workers=workers
        )
        config.load()
        server = uvicorn_server.Server(config)
        server.lifespan = config.lifespan_class(config)
        with listening() as sock:
            await server.startup([sock])
            connected = [create_connection(sock.getsockname()) for _ in range(clients)]
            iterations = 0
            while len(server.server_state.connections) < clients:
                await asyncio.sleep(0)
                iterations += 1
            for client in connected:
                client.close()
            await server.shutdown([sock])
            return iterations

    assert uvloop.run(accepted(80, 1)) < 40 < uvloop.run(accepted(80, 2))


@pytest.mark.skipif(not SOMAXCONN.exists(), reason="Linux limits the backlog to the number in this file")
def test_thousands_of_clients_can_connect_while_the_process_is_busy(api: Api) -> None:
    """The kernel completes connections up to the backlog, also while the process does not run."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        os.kill(api.process.pid, signal.SIGSTOP)
        stack.callback(os.kill, api.process.pid, signal.SIGCONT)
        for _ in range(min(BACKLOG, int(SOMAXCONN.read_text()))):
            stack.enter_context(create_connection(("127.0.0.1", port_of(api)), timeout=20))


async def slow_app(scope: Scope, _: Receive, send: Send) -> None:
    """Responds later than CLIENT_TIMEOUT. The response to /short fits into a socket's buffer."""
    await asyncio.sleep(3 * CLIENT_TIMEOUT)
    body = b"x" * (9 if scope["path"] == "/short" else 9_000_000)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Client:
    """A client, and the protocol that serves it in this process."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: protocol.Protocol

    async def until_left(self, more: bytes = b"") -> None:
        """Keep sending until the server closes the connection."""
        while not self.protocol.transport.is_closing():
            self.writer.write(more)
            await asyncio.sleep(0.02)


def serve(work: Callable[[Client], Awaitable[None]]) -> None:
    """Serve one client. Only CLIENT_TIMEOUT can end its connection."""
    config = uvicorn.Config(slow_app, lifespan="off", log_config=None, timeout_keep_alive=600)
    config.load()
    made: list[protocol.Protocol] = []

    def make() -> protocol.Protocol:
        made.append(protocol.Protocol(config, ServerState(), {}))
        return made[0]

    async def connected() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60), await loop.create_server(make, sock=listening()) as server:
            reader, writer = await connect(server.sockets[0].getsockname())
            while not made:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            try:
                await work(Client(reader, writer, made[0]))
            finally:
                writer.transport.abort()
                made[0].transport.abort()
                await asyncio.sleep(0.05)

    asyncio.run(connected())


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CLIENT_TIMEOUT", CLIENT_TIMEOUT)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (REQUEST + b"GET / HTTP/1.1\r\nX: ", b"x"),
    ],
    ids=["nothing", "a slow head", "a slow body", "a slow second head"],
)
@pytest.mark.usefixtures("_short")
def test_a_client_that_does_not_finish_its_request_is_disconnected(first: bytes, more: bytes) -> None:
    async def work(client: Client) -> None:
        client.writer.write(first)
        reading = asyncio.create_task(drained(client.reader))
        await client.until_left(more)
        reading.cancel()

    serve(work)


async def drained(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


@pytest.mark.usefixtures("_short")
def test_a_client_may_wait_for_its_response_but_must_read_it() -> None:
    async def work(client: Client) -> None:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        await client.until_left()

    serve(work)


@pytest.mark.usefixtures("_short")
def test_a_client_that_reads_its_response_is_not_disconnected() -> None:
    async def work(client: Client) -> None:
        client.writer.write(REQUEST.replace(b"/", b"/short", 1))
        await client.reader.readuntil(b"\r\n\r\n")
        await client.reader.readexactly(9)
        await asyncio.sleep(3 * CLIENT_TIMEOUT)  # the server's timer in the same event loop would fire first
        assert not client.protocol.transport.is_closing()

    serve(work)


class Sent(list[bytes]):
    """A transport that records what is written."""

    closing = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def write(self, data: bytes) -> None:
        self.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


def test_writes_of_one_event_loop_iteration_are_sent_together_and_before_closing() -> None:
    async def work() -> None:
        sent = Sent()
        gathering = protocol.Transport(asyncio.get_running_loop(), sent)  # type: ignore[arg-type]
        for turn in (b"head", b"body"), (b"next",):
            for piece in turn:
                gathering.write(piece)
            await asyncio.sleep(0)
        assert sent == [b"headbody", b"next"]
        gathering.write(b"last")
        gathering.close()
        gathering.write(b"to nobody")
        await asyncio.sleep(0)
        assert sent == [b"headbody", b"next", b"last"]

    asyncio.run(work())


@pytest.fixture
def with_database(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Database], Awaitable[None]]], None]:
    """Run a coroutine function with a database of two connections, one per user."""
    monkeypatch.setenv("DATABASE_URL", server.conninfo(database, "tasks_api"))
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    monkeypatch.setenv("POOL_SIZE", "2")  # unless the test sets another value

    async def opened(work: Callable[[Database], Awaitable[None]]) -> None:
        async with Database(load(Settings)) as opened:
            await work(opened)
            assert opened.pool.get_stats().get("requests_waiting", 0) == 0

    return lambda work: asyncio.run(opened(work))


async def pid(database: Database) -> int:
    ((number,),) = await database.run(READ_AS, PID, {"user_id": "alice"})
    assert isinstance(number, int)
    return number


Run = Callable[[Callable[[Database], Awaitable[None]]], None]


def test_the_wait_for_a_connection_is_limited(with_database: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        held = [await database.pool.take(user) for user in ("bob", "carol")]
        with pytest.raises(PoolTimeout):
            await pid(database)
        await database.probe([PID], {"user_id": "nobody"})  # does not wait for these connections
        for user, connection in zip(("bob", "carol"), held, strict=True):
            await database.pool.give_back(user, connection)
        await pid(database)

    monkeypatch.setattr(fair_queue, "MAX_WAIT", 0.2)
    with_database(work)


def test_a_request_refused_because_its_worker_is_busy_raises_query_canceled(
    with_database: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(database: Database) -> None:
        hanging = await database.pool.take("bob", 1)
        with pytest.raises(QueryCanceled):
            await database.pool.take("carol", 1)
        other = await database.pool.take("dave", 2)
        with pytest.raises(PoolTimeout):  # now all connections are busy
            await database.pool.take("carol", 1)
        await database.pool.give_back("bob", hanging)
        await database.pool.give_back("dave", other)

    monkeypatch.setattr(fair_queue, "MAX_WAIT", 0.2)
    with_database(work)


@pytest.mark.parametrize("size", ["1", "2", "4", "10"])
def test_another_user_gets_a_connection_while_many_users_have_long_requests(
    with_database: Run, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    async def work(database: Database) -> None:
        queue = database.pool.queue
        greedy = [f"greedy {number}" for number in range(20)]
        for user in [*greedy, "alice"]:
            assert queue.enter(user, monotonic())
            queue.leave(user, 0.001 if user == "alice" else 2, monotonic())
        sleep = "select pg_sleep(60)"  # until the statement timeout
        tasks = [
            asyncio.create_task(database.run(ACT_AS, sleep, {"user_id": user}))
            for user in greedy
            for _ in "abc"
        ]
        await until(lambda: queue.waiting > 0)
        await pid(database)
        if size != "1":
            await database.run(READ_AS, PID, {"user_id": "a new user"})
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    monkeypatch.setenv("POOL_SIZE", size)
    with_database(work)


def test_an_outage_ends_the_wait_of_every_request(
    server: Server, clone: str, with_database: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(database: Database) -> None:
        with server.connect("postgres") as owner:
            owner.execute(sql.SQL("alter database {} connection limit 0").format(sql.Identifier(clone)))
            owner.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [clone]
            )
        asked = (database.run(READ_AS, PID, {"user_id": f"user {n}"}) for n in range(400))
        for refusal in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(refusal, NoConnection)
            assert refusal.sqlstate == "53300"
        assert database.pool.failures["53300"] < 50  # requests share failed attempts to connect

    monkeypatch.setattr(fair_queue, "MAX_WAIT", 600)  # seconds, longer than the test
    monkeypatch.setattr(deadline, "TIME_LIMIT", 600)
    monkeypatch.setenv("DATABASE_URL", server.conninfo(clone, "tasks_api"))
    with_database(work)


def test_waiting_requests_of_one_user_do_not_block_another_user(
    server: Server, database: str, alice: Person, bob: Person
) -> None:
    alice.create()
    bob.create()

    def served_meanwhile() -> bool:
        with ThreadPoolExecutor(8) as pool:
            with server.connect(database) as other, other.transaction():
                other.execute("select from app.tasks where user_id = %s for update", [alice.name])
                stuck = [pool.submit(alice.client.patch, "/tasks/1/complete") for _ in range(8)]
                until_blocked(other)
                for _ in range(3):
                    assert bob.client.get("/tasks/1").status_code == 200
                meanwhile = not any(future.done() for future in stuck)  # on a slow machine, they time out
            return meanwhile and {future.result().status_code for future in stuck} == {200}

    eventually(served_meanwhile)


def test_a_read_has_less_time_than_a_write(with_database: Run) -> None:
    alice = {"user_id": "alice"}

    async def work(database: Database) -> None:
        for identity, limit in ((READ_AS, "2s"), (ACT_AS, "5s"), (READ_AS, "2s")):
            told = await database.run(identity, "select current_setting('statement_timeout')", alice)
            assert told == [(limit,)]
        hasty = READ_AS.replace("2s", "50ms")
        database.identities = database.identities | {hasty: (hasty,)}
        with pytest.raises(QueryCanceled):
            await database.run(hasty, "select pg_sleep(9)", alice)

    with_database(work)


def test_a_cancelled_query_returns_its_connection_without_a_user(with_database: Run) -> None:
    async def work(database: Database) -> None:
        for statement in ("select pg_sleep(10)", "select count(*) from generate_series(1, 1e8)"):
            task = asyncio.create_task(database.run(ACT_AS, statement, {"user_id": "alice"}))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with database.pool.connection() as connection:
                assert connection.pgconn.transaction_status == TransactionStatus.IDLE
                left = await connection.execute("select nullif(current_setting('app.user_id', true), '')")
                assert await left.fetchone() == (None,)
        assert database.pool.get_stats()["pool_size"] <= 2

    with_database(work)


def test_a_connection_is_not_lost_if_returning_it_is_cancelled(with_database: Run) -> None:
    async def work(database: Database) -> None:
        database.pool.asking.add(asyncio.timeout(None))  # a waiting request, so no connection is kept
        for _ in range(3):
            connection = await database.pool.take("alice")
            async with database.pool._lock:  # noqa: SLF001 - held while others wait in the pool
                giving = asyncio.create_task(database.pool.give_back("alice", connection))
                await asyncio.sleep(0.01)
                giving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await giving
            await until(lambda: numbers(database)["pool_available"] == numbers(database)["pool_size"])
        database.pool.asking.clear()

    with_database(work)


def numbers(database: Database) -> dict[str, int]:
    return database.pool.get_stats()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


def test_a_connection_is_kept_for_the_next_request(
    with_database: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(database: Database) -> None:
        first = await pid(database)
        assert len(database.pool.kept) == 1
        assert await pid(database) == first
        assert numbers(database)["pool_available"] == 1

    monkeypatch.setattr(pool, "KEPT", 600)
    with_database(work)


def test_connections_that_are_kept_return_to_psycopgs_pool(
    with_database: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(database: Database) -> None:
        pool = database.pool
        await pid(database)
        await until(lambda: not pool.kept and len(pool._pool) == 1)  # noqa: SLF001 - closes old connections
        before = numbers(database)["requests_num"]
        monkeypatch.setattr(pool, "_return_kept", lambda: None)  # as if no connection were ever idle
        async with asyncio.timeout(60):
            while numbers(database)["requests_num"] < before + 2:
                await pid(database)

    monkeypatch.setattr(pool, "KEPT", 0.1)
    with_database(work)


def test_two_users_can_share_the_only_connection(
    server: Server, clone: str, with_database: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(database: Database) -> None:
        with server.connect("postgres") as owner:
            owner.execute(sql.SQL("alter database {} connection limit 1").format(sql.Identifier(clone)))
        for _ in range(5):
            asked = (database.run(READ_AS, PID, {"user_id": user}) for user in ("alice", "bob"))
            one, other = await asyncio.gather(*asked)
            assert one == other

    monkeypatch.setattr(pool, "KEPT", 60)
    monkeypatch.setenv("DATABASE_URL", server.conninfo(clone, "tasks_api"))
    with_database(work)


def test_a_request_that_a_stop_cancels_gets_503() -> None:
    async def endless(_: Scope, __: Receive, ___: Send) -> None:
        await asyncio.sleep(60)

    async def stopped() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {"type": "http", "http_version": "1.1", "method": "GET", "raw_path": b"/", "state": {}}
        scope["headers"] = [(b"host", b"x")]
        task = asyncio.create_task(EdgeMiddleware(endless)(scope, never, send))
        await asyncio.sleep(0.05)
        task.cancel()
        await task
        return sent

    async def never() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    start, body = asyncio.run(stopped())
    assert start["status"] == 503
    assert {b"retry-after", b"x-request-id"} <= {name for name, _ in start["headers"]}
    assert b"restarting" in body["body"]
