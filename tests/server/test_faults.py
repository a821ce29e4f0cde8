"""When something breaks, the answer is 503 in time, nothing acknowledged is lost, and all heals by itself."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from conftest import ALWAYS_FRESH, Api, Database, Server, on_18, serving
from support.faults import PGBOUNCER, Cluster, Splitter, cluster, eventually, network, pgbouncer

from app.postgres import Unready, safety
from app.postgres.database import Database as Pool
from app.settings import Settings, load

ACTIVE = (
    "select count(*) from pg_stat_activity where usename = 'tasks_api' and datname = %s and state = 'active'"
)
TERMINATE = (
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
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
    def client(self, user: str, timeout: float = 15) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {self.api.token(user)}"}
        base = f"{self.api.url}/api/{user}"
        with httpx.Client(base_url=base, headers=headers, timeout=timeout) as client:
            yield client

    def active(self) -> int:
        ((number,),) = self.owner.execute(ACTIVE, [self.database]).fetchall()
        assert isinstance(number, int)
        return number

    def get(self, path: str) -> int:
        return httpx.get(self.api.url + path, timeout=15).status_code

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Let every statement on tasks wait for a lock."""
        with self.server.connect(self.database) as other, other.transaction():
            other.execute("lock table app.tasks in access exclusive mode")
            yield


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
    with service.blocked(), service.client("gone", timeout=0.5) as client:
        path = "/tasks/1" if method == "DELETE" else "/tasks"
        with pytest.raises(httpx.ReadTimeout):
            client.request(method, path, json={"title": "nobody waits for this"})
        assert eventually(lambda: not service.active(), 3) < 1.2  # its lock timeout would end it after 2
    with service.client("gone") as client:
        assert client.get("/tasks").json() == []
    assert " 499 in " in service.api.log.read_text()


def test_a_client_that_goes_away_leaves_the_queue(service: Service) -> None:
    def gone() -> int:
        return service.api.log.read_text().count(" 499 in ")

    def impatient(client: httpx.Client) -> None:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/tasks")

    before = gone()
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        clients = [stack.enter_context(service.client("impatient", timeout=0.8)) for _ in range(3)]
        metrics = stack.enter_context(httpx.Client(base_url=service.api.url))
        stack.enter_context(service.blocked())
        leaving = [pool.submit(impatient, client) for client in clients]
        eventually(lambda: "\ntasks_requests_waiting 2.0\n" in metrics.get("/metrics").text)
        for client in leaving:
            client.result()
        eventually(lambda: "\ntasks_requests_waiting 0.0\n" in metrics.get("/metrics").text)
        eventually(lambda: gone() == before + 3)  # rather than refused because their time was up


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
    answers: list[tuple[int, float]] = []
    kept: list[str] = []
    stop = threading.Event()

    def write(api: Api) -> None:
        bearer = {"Authorization": f"Bearer {api.token('alice')}"}
        with httpx.Client(headers=bearer, timeout=20) as client:
            while not stop.is_set():
                title, began = uuid4().hex, time.monotonic()
                answer = client.post(f"{api.url}/api/alice/tasks", json={"title": title})
                answers.append((answer.status_code, time.monotonic() - began))
                kept.extend([title] * (answer.status_code == 201))

    with serving(postgres.conninfo("tasks", "tasks_api"), POOL_SIZE="2") as api, ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, api) for _ in range(3)]
        eventually(lambda: len(kept) > 50)
        postgres.end(signal.SIGKILL)
        eventually(lambda: any(status == 503 for status, _ in answers))
        assert httpx.get(f"{api.url}/health").status_code == 200
        postgres.start(fsync="off")
        before = len(kept)
        assert eventually(lambda: len(kept) > before) < 5
        stop.set()
        for writer in writers:
            writer.result()
    with postgres.connect("tasks") as owner:
        rows = owner.execute("select title from app.tasks").fetchall()
    assert {status for status, _ in answers} == {201, 503}
    assert max(seconds for _, seconds in answers) < 10
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
