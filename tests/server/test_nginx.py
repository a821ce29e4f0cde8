"""The API behind nginx with the configuration in app/server/deploy."""

import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from urllib.parse import quote

import httpx
import pytest
from conftest import Api, Server, deployed, free_port, on_18, serving
from support.issuers import certificate
from support.proxies import nginx, program

ORIGIN = {"Origin": "http://localhost:3000"}


@pytest.fixture(scope="module")
def watched(server: Server, database: str) -> Iterator[Api]:
    """An API with metrics."""
    with serving(server.conninfo(database, "tasks_api"), METRICS="true") as api:
        yield api


@on_18
def test_nginx_forwards_everything_that_the_contract_needs(watched: Api) -> None:
    port = int(watched.url.rpartition(":")[2])
    with nginx(port) as url:  # the other port refuses connections
        headers = {"Authorization": f"Bearer {watched.token('through/nginx')}"}
        made = httpx.post(
            f"{url}/api/through%2Fnginx/tasks", headers=headers, json={"title": "x"}, timeout=60
        )
        assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
        task = f"{url}{made.headers['Location']}"
        change = httpx.patch(
            task, headers=headers | {"If-Match": '"1"'}, json={"completed": True}, timeout=60
        )
        assert (change.status_code, change.headers["ETag"]) == (200, '"2"')
        upgrade = headers | {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert httpx.get(task, headers=upgrade, timeout=60).status_code == 200
        preflight = ORIGIN | {"Access-Control-Request-Method": "PUT"}
        allowed = httpx.options(task, headers=preflight, timeout=60)
        assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (
            204,
            ORIGIN["Origin"],
        )


def raw(url: str, request: bytes) -> httpx.Response:
    """Send bytes that HTTP clients would refuse to send; return the response."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 0), timeout=60) as client:
        client.sendall(request)
        received = b""
        while piece := client.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


def assert_problem(answer: httpx.Response, status: int, *, retry: bool = False) -> None:
    """Assert that a response of nginx itself obeys the contract."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"] != "Error"
    assert problem["detail"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Vary"] == "Origin"
    assert ("Retry-After" in answer.headers) is retry


def assert_readable(answer: httpx.Response) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


@on_18
def test_the_413_of_nginx_is_problem_json_over_http_2_too(watched: Api, tmp_path: Path) -> None:
    port, other, file = int(watched.url.rpartition(":")[2]), free_port(), certificate(tmp_path)
    listen = f"listen 127.0.0.1:{other} ssl http2; ssl_certificate {file}; ssl_certificate_key {file};"
    with nginx(port, port, {"limit_req_status 429;": listen}):
        options = ("-sik", "--http2", "-d@-", f"https://127.0.0.1:{other}/api/a/tasks")
        command = [program("curl"), *options]  # may fail after the response, since nginx reads no further
        said = subprocess.run(command, input=b"x" * 65537, capture_output=True, check=False).stdout
    assert said.startswith(b"HTTP/2 413")
    assert b"content-type: application/problem+json" in said


@on_18
def test_nginx_errors_are_problem_json_with_cors_headers(watched: Api) -> None:
    port = int(watched.url.rpartition(":")[2])
    with nginx(port, port) as url:
        head = f"Host: x\r\nOrigin: {ORIGIN['Origin']}\r\nConnection: close\r\n".encode()
        large = httpx.post(f"{url}/api/a/tasks", content=b"x" * 65537, headers=ORIGIN, timeout=60)
        assert_problem(large, 413)
        assert_readable(large)
        refused = {
            400: b"GET / HTTP/1.1\r\nOrigin: x\r\n\r\n",
            414: b"GET /%b HTTP/1.1\r\n%b\r\n" % (b"x" * 20000, head),
            431: b"GET / HTTP/1.1\r\n%bX: %b\r\n\r\n" % (head, b"x" * 20000),
            501: b"POST / HTTP/1.1\r\n%bTransfer-Encoding: gzip, chunked\r\n\r\n" % head,
            505: b"GET / HTTP/2.0\r\n%b\r\n" % head,
        }
        for status, request in refused.items():
            assert_problem(raw(url, request), status)
        assert_problem(raw(url, b"nonsense\r\n\r\n"), 400)
        assert_problem(httpx.get(f"{url}/metrics", timeout=60), 404)
        assert_problem(httpx.get(f"{url}/%6detrics", timeout=60), 404)
        assert_problem(httpx.get(f"{url}/.problem", timeout=60), 404)
        stranger = httpx.get(f"{url}/metrics", headers={"Origin": "https://evil.example"}, timeout=60)
        assert "Access-Control-Allow-Origin" not in stranger.headers
        passed = httpx.get(f"{url}/no/such/path", headers=ORIGIN, timeout=60)  # responses of the API
        assert passed.json()["detail"] == "Path not found"
        assert passed.headers.get_list("X-Request-ID") == [passed.headers["X-Request-ID"]]


def test_without_a_process_nginx_responds_with_retry_after() -> None:
    with nginx(free_port(), free_port()) as url:
        answer = httpx.post(f"{url}/api/a/tasks", headers=ORIGIN, json={}, timeout=60)
        assert_problem(answer, 502, retry=True)
        assert_readable(answer)
        head = httpx.head(f"{url}/health", timeout=60)
        assert (head.status_code, head.content) == (502, b"")


def test_a_process_that_does_not_respond_is_a_504() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with nginx(port, port, {"proxy_read_timeout 30s": "proxy_read_timeout 1s"}) as url:
            assert_problem(httpx.post(f"{url}/api/a/tasks", json={}, timeout=60), 504, retry=True)


@on_18
def test_a_token_has_one_limit_for_all_spellings_of_bearer(watched: Api) -> None:
    """Both spellings share a burst. Each user has their own burst."""
    port = int(watched.url.rpartition(":")[2])
    slow = {"rate=50r/s": "rate=1r/m", "rate=100r/s": "rate=10000r/s", "burst=100 nodelay": "burst=3 nodelay"}
    with nginx(port, port, slow) as url:
        token = watched.token("limited")
        spelled = [f"Bearer {token}", f"bearer  {token}", f"BEARER \t{token}", f"beaRer {token}"]
        seen = [ask(url, each).status_code for each in spelled]
        assert seen == [200] * 4
        for each in spelled:
            assert_problem(ask(url, each), 429, retry=True)
        assert ask(url, f"Bearer {watched.token('another')}", "another").status_code == 200
        preflight = ORIGIN | {"Access-Control-Request-Method": "PUT"}
        for _ in range(10):
            assert httpx.options(f"{url}/api/limited/tasks", headers=preflight, timeout=60).status_code == 204
            assert httpx.get(f"{url}/health", timeout=60).status_code == 200


def ask(url: str, authorization: str, user: str = "limited") -> httpx.Response:
    return httpx.get(f"{url}/api/{user}/tasks", headers={"Authorization": authorization}, timeout=60)


@on_18
def test_a_flood_of_invalid_tokens_affects_no_other_user(watched: Api) -> None:
    """Send more tokens than fit into the zone, of different lengths, in case nginx stored them unhashed."""
    port = int(watched.url.rpartition(":")[2])
    small = {
        "zone=tasks_user:16m": "zone=tasks_user:32k",
        "rate=100r/s": "rate=100000r/s",
        "rate=50r/s": "rate=1r/m",
    }
    with nginx(port, port, small) as url, httpx.Client(timeout=60) as client:
        for number in range(1000):
            head, claims, signature = "x" * (number % 97 + 1), "y" * (number % 89 * 50), f"{number:0>300}"
            made_up = f"Bearer {head}.y{claims}.{signature[number % 200 :]}"
            answer = client.get(f"{url}/api/limited/tasks", headers={"Authorization": made_up})
            assert answer.status_code == 401
        assert ask(url, f"Bearer {watched.token('limited')}").status_code == 200
        assert ask(url, f"Bearer {watched.token('fresh')}", "fresh").status_code == 200


@on_18
def test_an_address_over_its_limit_does_not_count_for_users(watched: Api) -> None:
    port = int(watched.url.rpartition(":")[2])
    slow = {"rate=100r/s": "rate=1r/m", "burst=200 nodelay": "burst=1 nodelay", "rate=50r/s": "rate=1r/m"}
    with nginx(port, port, slow | {"burst=100 nodelay": "burst=2 nodelay"}) as url:
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        for _ in range(5):
            assert_problem(ask(url, f"Bearer {watched.token('limited')}"), 429, retry=True)


@on_18
def test_long_headers_pass_nginx_in_both_directions(watched: Api) -> None:
    """A Link contains the path and the query of the request, up to 8 KiB."""
    port, user = int(watched.url.rpartition(":")[2]), "\N{GRINNING FACE}" * 255
    with nginx(port, port) as url:
        headers = {"Authorization": f"Bearer {watched.token(user)}", "X-Request-ID": "x" * 128}
        tasks = f"{url}/api/{quote(user)}/tasks"
        for title in "ab":
            made = httpx.post(tasks, headers=headers, json={"title": title}, timeout=60)
            assert made.status_code == 201
        assert made.headers["X-Request-ID"] == "x" * 128
        page = httpx.get(f"{tasks}?limit=1&unknown={'(' * 8000}", headers=headers, timeout=60)
        (link,) = re.findall(r'<(.*)>; rel="next"', page.headers["Link"])
        assert len(link) > 12000
        plain = httpx.get(f"{tasks}?limit=1&unknown={'x' * 4000}", headers=headers, timeout=60)
        (link,) = re.findall(r'<(.*)>; rel="next"', plain.headers["Link"])
        following = httpx.get(f"{url}{link}", headers=headers, timeout=60)
        assert [task["title"] for task in following.json()] == ["a"]


FAST = {"rate=100r/s": "rate=100000r/s", "rate=50r/s": "rate=100000r/s"}


@on_18
@pytest.mark.long
def test_a_rolling_restart_behind_nginx_loses_nothing_and_does_nothing_twice(
    server: Server, template: str
) -> None:
    """One of the services is a single process, the other has two."""
    with server.database(template) as name, ExitStack() as stack, ThreadPoolExecutor(8) as clients:
        ports = free_port(), free_port()
        processes = dict(zip(ports, ("1", "2"), strict=True))
        started = {}

        def start(port: int) -> None:
            address = server.conninfo(name, "tasks_api")
            settings = {"PORT": str(port), "JWT_SECRET": "x" * 40, "WEB_CONCURRENCY": processes[port]}
            started[port] = stack.enter_context(deployed(address, **settings))

        for port in ports:
            start(port)
        url = stack.enter_context(nginx(*ports, FAST))
        stop = Event()

        def use(number: int) -> list[tuple[str, int]]:
            user, seen = f"user-{number}", []
            headers = {"Authorization": f"Bearer {started[ports[0]].token(user)}"}
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                while not stop.is_set():
                    made = client.post(f"/api/{user}/tasks", json={"title": "x"})
                    seen.append(("POST", made.status_code))
                    if made.status_code != 201:
                        continue
                    task = made.headers["Location"]
                    toggled = client.patch(f"{task}/complete")
                    changed = client.put(task, json={"title": "y"}, headers={"If-Match": '"2"'})
                    seen += [("PATCH", toggled.status_code), ("PUT", changed.status_code)]
                    seen.append(("GET", client.get(task).status_code))
            return seen

        running = [clients.submit(use, number) for number in range(8)]
        try:
            for port in ports:
                started[port].process.send_signal(signal.SIGTERM)
                assert started[port].process.wait(60) == 0
                start(port)
        finally:
            stop.set()
        seen = Counter(each for future in running for each in future.result())
        assert set(seen) == {("POST", 201), ("PATCH", 200), ("PUT", 200), ("GET", 200)}
        with server.connect(name) as owner:
            ((there, changes),) = owner.execute("select count(*), sum(version - 1) from app.tasks").fetchall()
        assert (there, changes) == (seen["POST", 201], seen["PATCH", 200] + seen["PUT", 200])
