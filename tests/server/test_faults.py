"""When something breaks, the answer is 503 in time, nothing acknowledged is lost, and all heals by itself."""

import asyncio
import http.client
import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from conftest import ALWAYS_FRESH, Api, Database, Server, on_18, serving
from support.contract import until_blocked
from support.faults import PGBOUNCER, Cluster, Splitter, cluster, eventually, network, pgbouncer

from app.postgres import Unready, safety
from app.postgres.database import Database as Pool
from app.settings import Settings, load

ACTIVE = (
    "select count(*) from pg_stat_activity where usename = 'tasks_api' and datname = %s and state = 'active'"
)
TERMINATE = (
    "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
    " where usename = 'tasks_api' and datname = %s"
)


@dataclass(frozen=True)
class Service:
    """An API over one connection, and its database to break."""

    server: Server
    api: Api
    owner: Database
    database: str

    @contextmanager
    def client(self, user: str, timeout: float = 60) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {self.api.token(user)}"}
        base = f"{self.api.url}/api/{user}"
        with httpx.Client(base_url=base, headers=headers, timeout=timeout) as client:
            yield client

    def active(self) -> int:
        ((number,),) = self.owner.execute(ACTIVE, [self.database]).fetchall()
        assert isinstance(number, int)
        return number

    def get(self, path: str) -> int:
        return httpx.get(self.api.url + path, timeout=60).status_code

    @contextmanager
    def blocked(self) -> Iterator[Database]:
        """Let every statement on tasks wait for a lock."""
        with self.server.connect(self.database) as other, other.transaction():
            other.execute("lock table app.tasks in access exclusive mode")
            yield other

    def begin(self, user: str, method: str, path: str) -> "Begun":
        """Send a request and do not wait for its answer."""
        connection = http.client.HTTPConnection(urlsplit(self.api.url).netloc)
        number = uuid4().hex
        headers = {"Authorization": f"Bearer {self.api.token(user)}", "X-Request-ID": number}
        connection.request(method, f"/api/{user}{path}", json.dumps({"title": "for nobody"}), headers)
        return Begun(connection, re.compile(rf" request {number}: .* (\d+) in "), self.api.log)


@dataclass(frozen=True)
class Begun:
    """A request whose client goes away when the connection is closed."""

    connection: http.client.HTTPConnection
    line: re.Pattern[str]
    log: Path

    def status(self) -> str:
        """Return its status in the log: 499 where the client was noticed to be gone before another end."""
        found = self.line.search(self.log.read_text())
        return found[1] if found else ""


@pytest.fixture(scope="module")
def service(server: Server, template: str) -> Iterator[Service]:
    with (
        server.database(template) as name,
        server.connect(name) as owner,
        serving(server.conninfo(name, "tasks_api"), ALWAYS_FRESH, POOL_SIZE="1", METRICS="true") as api,
    ):
        yield Service(server, api, owner, name)


def assert_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_connection_that_the_server_closed_while_it_was_idle_costs_no_error(service: Service) -> None:
    with service.client(f"a-{uuid4().hex}") as client:
        for method in ("POST", "GET"):
            service.owner.execute(TERMINATE, [service.database])
            assert client.request(method, "/tasks", json={"title": "once"}).is_success
        assert len(client.get("/tasks").json()) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_client_that_goes_away_cancels_its_query(service: Service, method: str) -> None:
    def cancelled() -> bool:
        with service.blocked() as other:
            request = service.begin("gone", method, "/tasks/1" if method == "DELETE" else "/tasks")
            until_blocked(other)
            request.connection.close()
            eventually(lambda: not service.active())
            eventually(lambda: bool(request.status()))
        return request.status() == "499"  # rather than 503: on a slow machine, its lock timeout was first

    eventually(cancelled, 20)
    with service.client("gone") as client:
        assert client.get("/tasks").json() == []


def test_a_client_that_goes_away_leaves_the_queue(service: Service) -> None:
    def left() -> bool:
        with service.blocked() as other, httpx.Client(base_url=service.api.url) as metrics:

            def waiting(number: int) -> bool:
                return f"\ntasks_requests_waiting {number}.0\n" in metrics.get("/metrics").text

            requests = [service.begin("impatient", "GET", "/tasks") for _ in range(3)]
            until_blocked(other)
            eventually(lambda: waiting(2) or any(request.status() for request in requests))
            for request in requests:
                request.connection.close()
            eventually(lambda: waiting(0))
            eventually(lambda: all(request.status() for request in requests))
        return {request.status() for request in requests} == {"499"}  # rather than 503: their time was up

    eventually(left, 20)


def test_a_database_that_is_read_only_serves_reads(service: Service) -> None:
    with service.client("reader") as client:
        service.owner.execute(f"alter database {service.database} set default_transaction_read_only = on")
        service.owner.execute(TERMINATE, [service.database])
        assert client.get("/tasks").status_code == 200
        assert_unavailable(client.post("/tasks", json={"title": "refused"}))
        assert service.get("/ready") == 503
        service.owner.execute(f"alter database {service.database} reset default_transaction_read_only")
        service.owner.execute(TERMINATE, [service.database])
        assert client.post("/tasks", json={"title": "kept"}).status_code == 201
        assert service.get("/ready") == 200


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Cluster]:
    """A server to kill, with the migrated database `tasks`."""
    with cluster(server.version) as made:
        made.start(fsync="off")
        made.migrated()
        yield made


@on_18
def test_every_acknowledged_write_survives_a_killed_server(postgres: Cluster) -> None:
    statuses: list[int] = []
    kept: list[str] = []
    stop = threading.Event()

    def write(api: Api) -> None:
        bearer = {"Authorization": f"Bearer {api.token('alice')}"}
        with httpx.Client(headers=bearer, timeout=60) as client:
            while not stop.is_set():
                title = uuid4().hex
                answer = client.post(f"{api.url}/api/alice/tasks", json={"title": title})
                statuses.append(answer.status_code)
                kept.extend([title] * (answer.status_code == 201))

    with serving(postgres.conninfo("tasks", "tasks_api"), POOL_SIZE="2") as api, ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, api) for _ in range(3)]
        eventually(lambda: len(kept) > 50)
        postgres.end(signal.SIGKILL)
        eventually(lambda: 503 in statuses)
        assert httpx.get(f"{api.url}/health").status_code == 200
        postgres.start(fsync="off")
        before = len(kept)
        eventually(lambda: len(kept) > before)
        stop.set()
        for writer in writers:
            writer.result()
    with postgres.connect("tasks") as owner:
        rows = owner.execute("select title from app.tasks").fetchall()
    assert set(statuses) == {201, 503}
    assert set(kept) <= {title for (title,) in rows}
    assert len(rows) - len(kept) <= 3  # what was under way, unheard, when the server was killed


@on_18
def test_a_write_of_unknown_outcome_is_not_repeated_without_a_key(postgres: Cluster) -> None:
    with (
        network(postgres.port) as between,
        serving(postgres.conninfo("tasks", "tasks_api", between.port)) as api,
        httpx.Client(headers={"Authorization": f"Bearer {api.token('bob')}"}) as client,
    ):
        url = f"{api.url}/api/bob/tasks"
        between.cut = lambda piece: b"a cut answer" in piece
        assert_unavailable(client.post(url, json={"title": "a cut answer"}))
        between.cut = lambda _: False
        assert [task["title"] for task in client.get(url).json()] == ["a cut answer"]
        key = {"Idempotency-Key": "once"}
        between.cut = lambda piece: b"with a key" in piece
        assert_unavailable(client.post(url, json={"title": "with a key"}, headers=key))
        between.cut = lambda _: False
        again = client.post(url, json={"title": "with a key"}, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert len(client.get(url).json()) == 2


def test_a_pooler_that_takes_the_pipeline_apart_is_refused(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(port: int) -> None:
        address = postgres.conninfo("tasks", "tasks_api", port)
        monkeypatch.setenv("DATABASE_URL", f"{address} sslmode=disable gssencmode=disable")
        async with Pool(load(Settings)) as pool:
            await safety.check(pool)
            await safety.check_prepared(pool)

    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    asyncio.run(check(postgres.port))
    with network(postgres.port, Splitter) as pooler, pytest.raises(Unready, match="takes a pipeline apart"):
        asyncio.run(check(pooler.port))


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
def test_a_pooler_that_mixes_prepared_statements_up_is_refused(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with Pool(load(Settings)) as pool:
            await safety.check(pool)
            await safety.check_prepared(pool)

    with pgbouncer(postgres) as port:
        monkeypatch.setenv("JWT_SECRET", "x" * 32)
        monkeypatch.setenv("DATABASE_URL", postgres.conninfo("tasks", "tasks_api", port))
        with pytest.raises(Unready, match="set PREPARED_STATEMENTS=false"):
            asyncio.run(check())
        monkeypatch.setenv("PREPARED_STATEMENTS", "false")
        asyncio.run(check())
