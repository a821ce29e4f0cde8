"""Faults: responses are 503 and in time, acknowledged writes survive, and the API recovers by itself."""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from conftest import ALWAYS_FRESH, BINARIES, Api, Database, Server, on_18, serving
from support.contract import until_blocked
from support.faults import (
    NOBODY,
    PGBOUNCER,
    Cluster,
    Network,
    Splitter,
    cluster,
    eventually,
    network,
    pgbouncer,
)
from support.issuers import certificate

from app.postgres import NotReady, safety
from app.postgres.connection import Connection, state_of_refusal
from app.postgres.database import ACT_AS, DEFAULTS
from app.postgres.database import Database as Pool
from app.postgres.pool import Pool as Connections
from app.postgres.pool import reason_and_remedy
from app.postgres.session_settings import PROBE_USER
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
    """An API with one connection, and a database that tests may break."""

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
        """Lock the table, so that every statement on it waits."""
        with self.server.connect(self.database) as other, other.transaction():
            other.execute("lock table app.tasks in access exclusive mode")
            yield other

    def begin(self, user: str, method: str, path: str) -> "Begun":
        """Send a request without waiting for the response."""
        connection = http.client.HTTPConnection(urlsplit(self.api.url).netloc)
        number = uuid4().hex
        headers = {"Authorization": f"Bearer {self.api.token(user)}", "X-Request-ID": number}
        connection.request(method, f"/api/{user}{path}", json.dumps({"title": "for nobody"}), headers)
        return Begun(connection, re.compile(rf" request {number}: .* (\d+) in "), self.api.log)


@dataclass(frozen=True)
class Begun:
    """A request, and the connection by which its client can disconnect."""

    connection: http.client.HTTPConnection
    line: re.Pattern[str]
    log: Path

    def status(self) -> str:
        """Return the status in the log. It is 499 if the disconnect was detected before any other end."""
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


def test_a_closed_idle_connection_causes_no_error(service: Service) -> None:
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
        return request.status() == "499"  # 503 if the lock timeout came first, on a slow machine

    eventually(cancelled)
    with service.client("gone") as client:
        assert client.get("/tasks").json() == []


def test_a_client_that_goes_away_leaves_the_queue(service: Service) -> None:
    def left() -> bool:
        with service.blocked() as other, httpx.Client(base_url=service.api.url, timeout=60) as metrics:

            def waiting(number: int) -> bool:
                return f"\ntasks_requests_waiting {number}.0\n" in metrics.get("/metrics").text

            requests = [service.begin("impatient", "GET", "/tasks") for _ in range(3)]
            until_blocked(other)
            eventually(lambda: waiting(2) or any(request.status() for request in requests))
            for request in requests:
                request.connection.close()
            eventually(lambda: waiting(0))
            eventually(lambda: all(request.status() for request in requests))
        return {request.status() for request in requests} == {"499"}  # 503 if they waited too long

    eventually(left)


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


def metric(api: Api, name: str) -> float:
    """Return the value of a metric."""
    text = httpx.get(f"{api.url}/metrics", timeout=60).text
    ((number),) = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(number)


REFUSES = {
    "53300": ("alter database {} connection limit 0", "alter database {} connection limit -1"),
    "55000": ("alter database {} allow_connections false", "alter database {} allow_connections true"),
    "28000": ("alter role tasks_api nologin", "alter role tasks_api login"),
    "42501": ("revoke connect on database {} from public", "grant connect on database {} to public"),
    # Another reason of a running server.
    "08004": (
        "alter role tasks_api in database {} set local_preload_libraries = 'missing'",
        "alter role tasks_api in database {} reset local_preload_libraries",
    ),
}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("28000", "FATAL:  connection requires a valid client certificate"),
        ("28000", "FATAL:  no such user: tasks_api"),
        ("53300", "FATAL:  client connections exceeded (max_user_client_connections)"),
        ("08004", "FATAL:  Rolle »tasks_api« existiert nicht"),
        ("08004", 'ВАЖНО:  роль "tasks_api" не существует'),
        ("08004", '致命错误:  角色 "tasks_api" 不存在'),
        ("08001", "SSL error: certificate verify failed"),
    ],
)
def test_a_refused_connection_has_the_sqlstate_of_its_reason(state: str, said: str) -> None:
    assert state_of_refusal(psycopg.OperationalError(f"connection failed: {said}")) == state


@pytest.mark.parametrize(
    "said",
    [
        "SSL error: tlsv1 alert unknown ca",
        "channel binding required, but server authenticated client without channel binding",
        'authentication method requirement "scram-sha-256" failed: server did not complete authentication',
        'private key file "key" has group or world access',
    ],
)
def test_the_remedy_for_a_failed_tls_connection_names_the_parameters(
    said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        Connections("", open=False, min_size=1, max_size=1, kwargs={}).record(psycopg.OperationalError(said))

    asyncio.run(fail())
    assert "correct sslmode, sslrootcert, sslcert, channel_binding or require_auth" in caplog.text


def test_the_remedy_for_a_refused_password_includes_a_missing_role() -> None:
    """With passwords, PostgreSQL gives the same reason in both cases."""
    error = psycopg.OperationalError('FATAL:  password authentication failed for user "tasks_api"')
    assert "if there is no role tasks_api, run make migrate" in reason_and_remedy(error)


@on_18
@pytest.mark.parametrize("state", REFUSES)
def test_if_no_connection_can_be_opened_requests_fail_without_waiting(service: Service, state: str) -> None:
    api, (breaks, repairs) = service.api, REFUSES[state]
    refused = metric(api, "tasks_pool_refused_total")
    with service.client("alice") as client, service.server.connect("postgres") as owner:
        owner.execute(breaks.format(service.database))
        try:
            owner.execute(TERMINATE, [service.database])
            eventually(lambda: client.get("/tasks").status_code == 503)
            answer = client.get("/tasks")
            assert_unavailable(answer)
            assert "No connection to the database can be made" in answer.json()["detail"]
            with ThreadPoolExecutor(20) as pool:  # more requests than may wait for a connection
                answers = list(pool.map(lambda _: client.get("/tasks"), range(100)))
            assert {answer.json()["detail"] for answer in answers} == {answer.json()["detail"]}
            assert metric(api, "tasks_requests_waiting") == 0
            assert service.get("/ready") == 503
        finally:
            owner.execute(repairs.format(service.database))
        eventually(lambda: client.get("/tasks").status_code == 200)
    # The metrics are cached for a second.
    eventually(lambda: metric(api, f'tasks_database_errors_total{{sqlstate="{state}"}}') >= 100)
    assert metric(api, f'tasks_connect_errors_total{{sqlstate="{state}"}}') >= 1
    assert metric(api, "tasks_pool_refused_total") == refused
    lines = re.findall(
        "no connection can be made, SQLSTATE \\w+|the database can be reached again", api.log.read_text()
    )
    assert f"no connection can be made, SQLSTATE {state}" in lines
    assert lines[-1] == "the database can be reached again"
    assert all(line != next_line for line, next_line in pairwise(lines))  # logged only when it changes


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
        assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200
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
    assert len(rows) - len(kept) <= 3  # committed when the server was killed, without a response


@on_18
def test_a_stopped_server_is_not_reported_as_too_many_requests(postgres: Cluster) -> None:
    conninfo = postgres.conninfo("tasks", "tasks_api")
    with serving(conninfo, POOL_SIZE="2", METRICS="true") as api, ThreadPoolExecutor(20) as pool:
        bearer = {"Authorization": f"Bearer {api.token('alice')}"}

        def ask(_: int = 0) -> httpx.Response:
            return httpx.get(f"{api.url}/api/alice/tasks", headers=bearer, timeout=60)

        assert ask().status_code == 200
        postgres.end(signal.SIGINT)
        details = {answer.json()["detail"] for answer in pool.map(ask, range(200))}
        postgres.start(fsync="off")
        eventually(lambda: ask().status_code == 200)
        assert details == {"No connection to the database can be made at the moment; try again"}
        assert metric(api, "tasks_pool_refused_total") == 0
        assert metric(api, 'tasks_database_errors_total{sqlstate="08001"}') >= 200
        assert "no connection can be made, SQLSTATE 08001" in api.log.read_text()


PASSWORDS = "local all all trust\nhost all tasks_api all scram-sha-256\nhost all all all trust\n"


@on_18
def test_after_a_password_change_only_new_connections_fail(
    postgres: Cluster,
) -> None:
    old, new = uuid4().hex, uuid4().hex
    rules = (postgres.data / "pg_hba.conf").read_text()
    with ExitStack() as stack:
        owner = stack.enter_context(postgres.connect("tasks"))
        owner.execute(f"alter role tasks_api password '{old}'")
        for limit in ("lock_timeout", "statement_timeout"):
            owner.execute(f"alter role tasks_api in database tasks set {limit} = '1min'")
            stack.callback(owner.execute, f"alter role tasks_api in database tasks reset {limit}")
        stack.callback(owner.execute, "select pg_reload_conf()")
        stack.callback((postgres.data / "pg_hba.conf").write_text, rules)
        (postgres.data / "pg_hba.conf").write_text(PASSWORDS)
        owner.execute("select pg_reload_conf()")
        address = postgres.conninfo("tasks", "tasks_api") + f" password={old}"
        api = stack.enter_context(serving(address, ALWAYS_FRESH, POOL_SIZE="4", METRICS="true"))

        def ask(user: str, method: str = "GET", path: str = "/tasks") -> httpx.Response:
            bearer = {"Authorization": f"Bearer {api.token(user)}"}
            url = f"{api.url}/api/{user}{path}"
            return httpx.request(method, url, headers=bearer, json={"title": "x"}, timeout=60)

        users = ["alice", "bob", "carol", "dave"]  # more than the connections that are open after the start
        paths = [ask(user, "POST").headers["location"].removeprefix(f"/api/{user}") for user in users]
        owner.execute(f"alter role tasks_api password '{new}'")
        with ThreadPoolExecutor() as pool:
            with owner.transaction():
                owner.execute("select from app.tasks for update")
                working = [pool.submit(ask, *each) for each in zip(users, ["DELETE"] * 4, paths, strict=True)]
                eventually(lambda: "no connection can be made, SQLSTATE 28P01" in api.log.read_text())
            assert {each.result().status_code for each in working} == {204}
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200  # the open connections still work
        eventually(lambda: metric(api, 'tasks_connect_errors_total{sqlstate="28P01"}') > 0)
        assert metric(api, 'tasks_database_errors_total{sqlstate="28P01"}') == 0
        owner.execute(TERMINATE, ["tasks"])
        eventually(lambda: ask("alice").status_code == 503)
        assert "No connection" in ask("alice").json()["detail"]
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 503
        owner.execute(f"alter role tasks_api password '{old}'")
        eventually(lambda: ask("alice").status_code == 200)
        assert metric(api, "tasks_pool_refused_total") == 0
        assert old not in api.log.read_text()


def copy(primary: Cluster, standby: Cluster) -> None:
    """Create a standby of the primary."""
    shutil.rmtree(standby.data)
    command = [str(standby.binaries / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(primary.port)]
    command += ["-U", "postgres", "-D", str(standby.data), "--write-recovery-conf", "--checkpoint=fast"]
    subprocess.run(command, user=NOBODY, check=True, cwd=standby.folder)
    standby.start(fsync="off")


@on_18
@pytest.mark.long
@pytest.mark.parametrize("attributes", ["", " target_session_attrs=any"], ids=["primary", "any"])
def test_after_a_switchover_the_api_uses_the_new_primary_without_a_restart(
    server: Server, attributes: str
) -> None:
    """The address stays the same. The old primary returns there as a standby first."""
    with ExitStack() as stack:
        old, new = (stack.enter_context(cluster(server.version)) for _ in range(2))
        old.start(fsync="off")
        old.migrated()
        copy(old, new)
        address = stack.enter_context(network(old.port))
        conninfo = old.conninfo("tasks", "tasks_api", address.port) + attributes
        api = stack.enter_context(serving(conninfo, ALWAYS_FRESH, POOL_SIZE="4"))
        pool = stack.enter_context(ThreadPoolExecutor())
        stop = threading.Event()
        stack.callback(stop.set)
        statuses: list[int] = []

        def ask(method: str, user: str) -> httpx.Response:
            bearer = {"Authorization": f"Bearer {api.token(user)}"}
            url = f"{api.url}/api/{user}/tasks"
            return httpx.request(method, url, headers=bearer, json={"title": "x"}, timeout=60)

        def load(user: str) -> None:
            while not stop.is_set():
                statuses.append(ask("POST", user).status_code)

        for user in ("alice", "bob", "carol"):
            pool.submit(load, user)
        eventually(lambda: statuses.count(201) > 50)
        old.end(signal.SIGINT)
        with new.connect("tasks") as owner:
            owner.execute("select pg_promote()")
            owner.execute("insert into app.users (id, last_task_id) values ('dave', 1)")
            owner.execute("insert into app.tasks (user_id, id, title) values ('dave', 1, 'new')")
        (old.data / "standby.signal").touch()
        old.start(fsync="off")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), old.connect("tasks") as owner:
            owner.execute("delete from app.users")
        if attributes:  # reads from the standby are allowed, so its rows are outdated
            eventually(lambda: ask("GET", "dave").json() == [])
        else:
            eventually(lambda: "SQLSTATE 25006" in api.log.read_text())
            assert_unavailable(ask("GET", "dave"))
        assert_unavailable(ask("POST", "alice"))
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 503
        address.target = new.port
        eventually(lambda: ask("POST", "alice").status_code == 201)
        eventually(lambda: httpx.get(f"{api.url}/ready", timeout=60).status_code == 200)
        statuses.clear()
        # Connections are replaced at most once a second, so some may still lead to the standby.
        eventually(lambda: len(statuses) > 100 and set(statuses[-100:]) == {201})
        assert [task["title"] for task in ask("GET", "dave").json()] == ["new"]


@on_18
@pytest.mark.parametrize(("given", "milliseconds"), [("", 5000), (" tcp_user_timeout=7000", 7000)])
def test_the_kernel_ends_connections_to_an_unreachable_server(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, given: str, milliseconds: int
) -> None:
    async def look() -> None:
        async with Pool(load(Settings)) as pool, await pool.connect() as connection:
            with socket.socket(fileno=os.dup(connection.fileno())) as end:
                assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds

    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    monkeypatch.setenv("DATABASE_URL", postgres.conninfo("tasks", "tasks_api") + given)
    asyncio.run(look())


@on_18
@pytest.mark.parametrize(
    ("place", "set_by_operator"),
    [
        ("PGSERVICE=other", {}),
        ("PGTARGETSESSIONATTRS=", {}),
        ("service=other", {}),
        ("target_session_attrs=any", {"target_session_attrs": "any"}),
        ("PGTARGETSESSIONATTRS=any", {"target_session_attrs": "any"}),
        ("PGSERVICE=own", {"target_session_attrs": "any", "tcp_user_timeout": "7000"}),
        ("service=own", {"target_session_attrs": "any", "tcp_user_timeout": "7000"}),
    ],
)
def test_the_environment_and_service_files_override_the_defaults_of_parameters(
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    set_by_operator: dict[str, str],
) -> None:
    async def look() -> dict[str, str]:
        async with Pool(load(Settings)) as pool, await pool.connect() as connection:
            found = {option.keyword.decode(): option.val for option in connection.pgconn.info}
            return {name: (found[name] or b"").decode() for name in ("target_session_attrs", *DEFAULTS)}

    services = tmp_path / "pg_service.conf"
    services.write_text("[own]\ntarget_session_attrs=any\ntcp_user_timeout=7000\n[other]\nuser=nobody\n")
    for name in ("PGSERVICE", "PGTARGETSESSIONATTRS"):  # pytest removes them again when the test has ended
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    monkeypatch.setenv("DATABASE_URL", postgres.conninfo("tasks", "tasks_api"))
    name, value = place.split("=")
    if name.isupper():
        monkeypatch.setenv(name, value)
    else:
        monkeypatch.setenv("DATABASE_URL", f"{postgres.conninfo('tasks', 'tasks_api')} {place}")
    defaults = {"target_session_attrs": "primary"} | {name: str(value) for name, value in DEFAULTS.items()}
    assert asyncio.run(look()) == defaults | set_by_operator


@on_18
@pytest.mark.long
def test_the_api_connects_to_the_primary_of_several_hosts(server: Server) -> None:
    with ExitStack() as stack:
        primary, standby = (stack.enter_context(cluster(server.version)) for _ in range(2))
        primary.start(fsync="off")
        primary.migrated()
        copy(primary, standby)
        hosts = f"host=127.0.0.1,127.0.0.1 port={standby.port},{primary.port} dbname=tasks user=tasks_api"
        for attributes in ("", " target_session_attrs=read-write"):
            with serving(hosts + attributes) as api:
                bearer = {"Authorization": f"Bearer {api.token('alice')}"}
                url = f"{api.url}/api/alice/tasks"
                assert httpx.post(url, headers=bearer, json={"title": "x"}, timeout=60).status_code == 201
                assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200


@on_18
def test_a_write_of_unknown_outcome_is_not_repeated_without_a_key(postgres: Cluster) -> None:
    with (
        network(postgres.port) as between,
        serving(postgres.conninfo("tasks", "tasks_api", between.port)) as api,
        httpx.Client(headers={"Authorization": f"Bearer {api.token('bob')}"}, timeout=60) as client,
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


def test_a_pooler_that_splits_a_pipeline_is_refused(
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
    with (
        network(postgres.port, Splitter) as pooler,
        pytest.raises(NotReady, match="splits the transaction of a pipeline"),
    ):
        asyncio.run(check(pooler.port))


class Tracker(Network):
    """Closes the connection if a prepared statement does not exist, as PgBouncer 1.22 and later do."""

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *client: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(65536):
            if not client and b"C26000\0" in piece:
                writer.write(piece[: -len(b"Z\0\0\0\5I")])
                return
            writer.write(piece)


def test_a_pooler_that_closes_the_connection_for_an_unknown_prepared_statement_is_accepted(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with Pool(load(Settings)) as pool:
            await safety.check_prepared(pool)

    with network(postgres.port, Tracker) as pooler:
        address = postgres.conninfo("tasks", "tasks_api", pooler.port)
        monkeypatch.setenv("JWT_SECRET", "x" * 32)
        monkeypatch.setenv("DATABASE_URL", f"{address} sslmode=disable gssencmode=disable")
        asyncio.run(check())


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
def test_a_pooler_without_support_for_prepared_statements_is_refused(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with Pool(load(Settings)) as pool:
            await safety.check(pool)
            await safety.check_prepared(pool)

    with pgbouncer(postgres) as port:
        monkeypatch.setenv("JWT_SECRET", "x" * 32)
        monkeypatch.setenv("DATABASE_URL", postgres.conninfo("tasks", "tasks_api", port))
        with pytest.raises(NotReady, match="set PREPARED_STATEMENTS=false"):
            asyncio.run(check())
        monkeypatch.setenv("PREPARED_STATEMENTS", "false")
        asyncio.run(check())


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
def test_a_lost_connection_does_not_pass_for_a_pooler_that_tracks_prepared_statements(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with Pool(load(Settings)) as pool:
            await safety.check_prepared(pool)

    with pgbouncer(postgres) as port, network(port) as between:
        unbroken = iter([True])
        # the first piece that only names statements: those that the other connection has prepared
        between.cut = lambda piece: (
            PROBE_USER.encode() in piece and b"select" not in piece and next(unbroken, False)
        )
        monkeypatch.setenv("JWT_SECRET", "x" * 32)
        monkeypatch.setenv("DATABASE_URL", postgres.conninfo("tasks", "tasks_api", between.port))
        with pytest.raises(NotReady, match="set PREPARED_STATEMENTS=false"):
            asyncio.run(check())
        assert not list(unbroken)


def test_over_tls_each_statement_of_a_pipeline_is_a_record_of_its_own(tmp_path: Path) -> None:
    """PgBouncer before 1.25.3 stops reading in the middle of a record over 4096 bytes (its issue 1530)."""
    if not BINARIES["15"].exists():  # the embedded PostgreSQL is built without TLS
        pytest.skip("DEBIAN'S POSTGRESQL 15 IS NOT INSTALLED: NOTHING WAS SENT OVER TLS")
    statements = [ACT_AS, *(f"select {number} -- {'x' * 3000}" for number in range(3))]
    sent: list[bytes] = []

    def keep(piece: bytes) -> bool:
        sent.append(piece)
        return False

    async def work(conninfo: str) -> None:
        async with await Connection.connect(conninfo, autocommit=True, prepare_threshold=1) as connection:
            for _ in range(2):
                assert await connection.execute_pipeline(statements, {"user_id": "alice"}) == [(2,)]

    with cluster("15") as postgres:
        key = postgres.data / "key"
        key.write_bytes(certificate(tmp_path, "localhost").read_bytes())
        key.chmod(0o600)
        shutil.chown(key, postgres.data.owner())
        postgres.start(fsync="off", ssl="on", ssl_cert_file=key, ssl_key_file=key)
        with network(postgres.port) as proxy:
            proxy.cut = keep
            conninfo = postgres.conninfo(port=proxy.port)
            asyncio.run(work(f"{conninfo} sslmode=require gssencmode=disable"))
    data = b"".join(sent)[8:]  # without the request for TLS
    sizes = []
    while data:
        size = int.from_bytes(data[3:5])
        sizes.append(size)
        data = data[5 + size :]
    assert len([size for size in sizes if size > 3000]) == 3
    assert max(sizes) < 3500
