"""Logs, metrics, and how processes start and stop."""

import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, Api, Database, Server, deployed, environment_of, free_port, on_18, serving
from prometheus_client.parser import text_string_to_metric_families
from support.contract import until_blocked
from support.faults import eventually

CONNECTIONS = "select count(*) from pg_stat_activity where usename = 'tasks_api' and datname = %s"
TEXT = "a text that no log may hold"


@pytest.fixture(scope="module")
def watched(server: Server, database: str) -> Iterator[Api]:
    """Two processes that log JSON and count for Prometheus."""
    settings = {"LOG_FORMAT": "json", "METRICS": "true", "WEB_CONCURRENCY": "2"}
    with deployed(server.conninfo(database, "tasks_api"), **settings) as api:
        yield api


def ask(api: Api, method: str, path: str, user: str = "olga", **rest: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {api.token(user)}", **rest.pop("headers", {})}
    return httpx.request(method, api.url + path, headers=headers, timeout=60, **rest)


def logged(api: Api, request: str, number: int) -> list[dict[str, Any]]:
    """Return the lines with a request id, which are written after the responses."""
    eventually(lambda: api.log.read_text().count(f'"{request}"') == number)
    return [x for x in map(json.loads, api.log.read_text().splitlines()) if x.get("request") == request]


def test_the_log_line_of_a_request_contains_neither_text_nor_token(watched: Api) -> None:
    headers = {"X-Request-ID": "number-one"}
    answer = ask(watched, "POST", "/api/olga/tasks", json={"title": TEXT}, headers=headers)
    assert answer.status_code == 201
    (line,) = logged(watched, "number-one", 1)
    assert line.pop("time")
    assert line.pop("ms") > 0
    assert line == {
        "level": "info",
        "request": "number-one",
        "method": "POST",
        "route": "/api/{user_id}/tasks",
        "status": 201,
        "user": sha256(b"olga").hexdigest()[:16],
    }
    log = watched.log.read_text()
    assert TEXT not in log
    assert answer.request.headers["Authorization"].split()[1] not in log


def test_a_line_contains_no_user_that_was_not_verified(watched: Api) -> None:
    headers = {"X-Request-ID": "number-two"}
    ask(watched, "GET", "/api/somebody/tasks", headers=headers)
    ask(watched, "OPTIONS", "/api/%ff%0a/tasks", headers=headers)
    ask(watched, "GET", "/no/%0a/path", headers=headers)
    preflight = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
    httpx.options(f"{watched.url}/api/somebody/tasks", headers=headers | preflight, timeout=60)
    lines = logged(watched, "number-two", 4)  # two processes write them, in any order
    assert {(line["status"], line["user"], line["route"]) for line in lines} == {
        (403, None, "/api/{user_id}/tasks"),
        (405, None, "/api/{user_id}/tasks"),
        (404, None, "-"),
        (204, None, "-"),
    }


def test_metrics_include_all_processes(watched: Api) -> None:
    def count() -> float:
        text = httpx.get(f"{watched.url}/metrics", timeout=60).text
        labels = {"method": "GET", "route": "/api/{user_id}/tasks/{task_id}", "status": "404"}
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        assert any(s.name == "tasks_pool_size" for s in samples)
        assert any(s.name == "tasks_request_seconds_bucket" for s in samples)
        return sum(s.value for s in samples if s.name == "tasks_requests_total" and s.labels == labels)

    before = count()
    for _ in range(20):  # each request opens a connection, so both processes get some
        assert ask(watched, "GET", "/api/olga/tasks/999999").status_code == 404
    eventually(lambda: count() == before + 20)  # a request is counted after the response


@dataclass(frozen=True)
class Observed:
    """An API with JSON logs and metrics, and a database that tests may break."""

    api: Api
    owner: Database


@pytest.fixture(scope="module")
def observed(server: Server, template: str) -> Iterator[Observed]:
    """One for all tests whose lines and metrics do not interfere."""
    settings = {"LOG_FORMAT": "json", "LOG_USERS": "none", "METRICS": "true"}
    with (
        server.database(template) as name,
        server.connect(name) as owner,
        serving(server.conninfo(name, "tasks_api"), **settings) as api,
    ):
        yield Observed(api, owner)


def test_all_metrics_exist_from_the_start(observed: Observed) -> None:
    text = httpx.get(f"{observed.api.url}/metrics", timeout=60).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    route = "/api/{user_id}/tasks"
    for status in ("200", "401", "403", "422", "500", "503"):
        labels = {"method": "GET", "route": route, "status": status}
        assert [s.value for s in samples if (s.name, s.labels) == ("tasks_requests_total", labels)] == [0]
    for state in ("08000", "57014", "53000"):
        labels = {"sqlstate": state}
        assert [
            s.value for s in samples if (s.name, s.labels) == ("tasks_database_errors_total", labels)
        ] == [0]
    assert [s.value for s in samples if s.name == "tasks_pool_refused_total"] == [0]


def test_a_probe_is_logged_only_when_its_status_changes(observed: Observed) -> None:
    api, owner = observed.api, observed.owner
    for path in ("/ready", "/health", "/metrics") * 3:
        assert httpx.get(f"{api.url}{path}", timeout=60).status_code == 200
    owner.execute("alter table app.tasks disable row level security")
    eventually(lambda: httpx.get(f"{api.url}/ready", timeout=60).status_code == 503)
    owner.execute("alter table app.tasks enable row level security")
    eventually(lambda: httpx.get(f"{api.url}/ready", timeout=60).status_code == 200)

    def written(path: str) -> list[int]:
        lines = [json.loads(line) for line in api.log.read_text().splitlines() if line.startswith("{")]
        return [line["status"] for line in lines if line.get("route") == path]

    eventually(lambda: len(written("/ready")) == 3)  # a line is written after the response
    assert written("/ready") == [200, 503, 200]
    assert (len(written("/health")), len(written("/metrics"))) == (1, 1)


def test_metrics_are_disabled_by_default(api: Api) -> None:
    assert httpx.get(f"{api.url}/metrics", timeout=60).status_code == 404


def test_a_defect_is_logged_without_data_of_the_request(observed: Observed) -> None:
    api = observed.api
    observed.owner.execute(
        "create or replace function app.trimmed(value text) returns text language plpgsql as "
        "$$ begin raise exception 'is: %', value using errcode = '22012'; end $$"
    )
    answer = ask(api, "POST", "/api/olga/tasks", json={"title": TEXT})
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    eventually(lambda: 'DivisionByZero"' in api.log.read_text())  # the traceback
    log = api.log.read_text()
    assert f"request {answer.headers['X-Request-ID']}: DivisionByZero 22012" in log
    assert TEXT not in log


@on_18
@pytest.mark.parametrize("full", [False, True], ids=["", "no free file descriptor"])
def test_a_stop_lets_accepted_requests_finish(server: Server, clone: str, full: bool) -> None:
    with server.connect(clone) as owner:  # otherwise the request may time out on a busy machine
        owner.execute(f"alter role tasks_api in database {clone} set lock_timeout = '60s'")
    with (
        server.connect(clone) as other,
        serving(server.conninfo(clone, "tasks_api")) as api,
        ThreadPoolExecutor() as pool,
    ):
        with other.transaction():
            other.execute("lock table app.tasks in access exclusive mode")
            accepted = pool.submit(ask, api, "POST", "/api/olga/tasks", json={"title": "kept"})
            until_blocked(other)
            with few_files(api.process.pid) if full else nullcontext():
                api.process.send_signal(signal.SIGTERM)
                eventually(lambda: refuses(api))
        assert accepted.result().status_code == 201
        assert api.process.wait(60) == 0
        eventually(lambda: other.execute(CONNECTIONS, [clone]).fetchall() == [(0,)])


@on_18
@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_host_with_all_ipv6_addresses_also_accepts_ipv4(
    server: Server, database: str, processes: str
) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with deployed(server.conninfo(database, "tasks_api"), HOST="::", WEB_CONCURRENCY=processes) as api:
        port = api.url.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{port}/health", timeout=60).status_code == 200


def refuses(api: Api) -> bool:
    try:
        httpx.get(f"{api.url}/health", timeout=60)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:  # the process is about to end
        return False
    return False


def start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(free_port())}
    environment.setdefault("JWT_SECRET", secrets.token_hex(32))
    command = [sys.executable, "-m", "app", "run"]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@on_18
def test_a_refused_start_ends_every_process(server: Server, clone: str, tmp_path: Path) -> None:
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks no force row level security")
        owner.execute("alter table app.tasks disable row level security")
    address = server.conninfo(clone, "tasks_api")
    ended = start(tmp_path, DATABASE_URL=address, WEB_CONCURRENCY="2")
    assert ended.returncode != 0
    assert "Row security is not active for tasks_api on app.tasks" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_endless_header_is_refused(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client, pytest.raises(OSError):
        client.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 64 * 1024 * 1024)
    assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200


@contextmanager
def few_files(pid: int) -> Iterator[None]:
    """Prevent a process from opening more files."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@on_18
@pytest.mark.long
def test_processes_wait_for_an_unavailable_database_and_stop_together(server: Server, clone: str) -> None:
    with (
        deployed(server.conninfo(clone, "tasks_api"), WEB_CONCURRENCY="2") as api,
        server.connect("postgres") as owner,
    ):
        eventually(lambda: api.log.read_text().count("Application startup complete") == 2)
        owner.execute(f"alter database {clone} connection limit 0")
        first = int(re.findall(r"Started server process \[(\d+)\]", api.log.read_text())[0])
        with few_files(api.process.pid):
            os.kill(first, signal.SIGKILL)
            eventually(lambda: "No process can be started: Too many open files" in api.log.read_text())
        eventually(lambda: "replaced in 2 s" in api.log.read_text(), 120)
        said = re.findall(r"Process \[(\d+)\] ended: (.*)", api.log.read_text())
        assert said[0] == (str(first), "killed by SIGKILL; replaced in 0 s")
        assert said[1][1] == "exit status 3; replaced in 2 s"
        assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200
        owner.execute(f"alter database {clone} connection limit -1")
        eventually(lambda: api.log.read_text().count("Application startup complete") == 3, 120)
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200
        api.process.terminate()  # both processes must end
        assert api.process.wait(60) == 0
        eventually(lambda: owner.execute(CONNECTIONS, [clone]).fetchall() == [(0,)])


def test_a_stop_during_the_start_logs_no_error(server: Server, database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = environment_of(server.conninfo(database, "tasks_api"), {"WEB_CONCURRENCY": "2"})
    command = [sys.executable, "-m", "app", "run"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stderr=file, start_new_session=True)
    eventually(lambda: "Started parent process" in log.read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    assert not [line for line in log.read_text().splitlines() if " INFO " not in line]


STOP = """
import os
import signal
import time
from app.server import supervisor

signal.signal(signal.SIGTERM, lambda *_: print("taken for the parent's"))
with supervisor._blocked_signals():
    child = os.fork()
    if not child:
        while signal.SIGTERM not in signal.sigpending():
            time.sleep(0.01)
        supervisor._set_handlers()
        time.sleep(60)
        os._exit(1)
    os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_new_process_does_not_handle_a_signal_as_the_parent_does() -> None:
    command = [sys.executable, "-c", STOP]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "0\n"


def test_the_pool_of_an_ended_process_is_not_counted(watched: Api) -> None:
    def size() -> float:
        return float(
            re.findall(
                r"^tasks_pool_size (\S+)", httpx.get(f"{watched.url}/metrics", timeout=60).text, re.MULTILINE
            )[0]
        )

    def is_less() -> bool:
        with suppress(httpx.RemoteProtocolError):  # an ending process closes new connections
            return size() < before
        return False

    before = size()
    watched.process.send_signal(signal.SIGTTOU)  # uvicorn's signal for one process less
    eventually(is_less)


def test_processes_end_if_their_parent_is_killed(watched: Api) -> None:
    """The last test with the fixture `watched`."""
    watched.process.kill()
    eventually(lambda: refuses(watched))


@on_18
@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU])
def test_a_stopped_process_delays_neither_a_shutdown_nor_a_replacement(
    server: Server, database: str, how: signal.Signals
) -> None:
    with deployed(server.conninfo(database, "tasks_api"), WEB_CONCURRENCY="2") as api:
        pids = serving_processes(api, 2)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        api.process.send_signal(how)
        if how != signal.SIGTERM:
            eventually(lambda: "Finished server process" in api.log.read_text(), 60)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200
            api.process.terminate()
        assert api.process.wait(60) == 0
        finished = re.findall(r"Finished server process \[(\d+)\]", api.log.read_text())
        assert {str(pid) for pid in pids} <= set(finished)


def serving_processes(api: Api, number: int) -> list[int]:
    """Return the process ids when all processes serve."""
    eventually(lambda: api.log.read_text().count("Application startup complete") == number, 60)
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", api.log.read_text())]


@on_18
@pytest.mark.long
def test_sighup_replaces_processes_one_by_one_without_a_lost_request(server: Server, database: str) -> None:
    with deployed(server.conninfo(database, "tasks_api"), WEB_CONCURRENCY="2") as api:
        old = serving_processes(api, 2)
        api.process.send_signal(signal.SIGHUP)
        asked = 0
        while api.log.read_text().count("Finished server process") < 2 or asked < 20:
            assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200
            asked += 1
        new = serving_processes(api, 4)[2:]
        assert not set(new) & set(old)
        assert "ended" not in api.log.read_text()
