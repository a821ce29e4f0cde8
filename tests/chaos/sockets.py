"""Request smuggling and resource exhaustion, without a proxy and behind nginx, Caddy and HAProxy."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from conftest import Api, deployed, free_port
from overload import rss
from support.faults import cluster
from support.load import QUICK, Client, Report, port_of, quantile

SECONDS = 2 if QUICK else 4
TIMES = 10 if QUICK else 20
CHUNKED = b"Transfer-Encoding: chunked"
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream api {{ server 127.0.0.1:{api}; keepalive 1; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_request_buffering off; proxy_pass http://api; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
  }} }}
}}"""
CADDY = """{{
  admin off
  auto_https off
}}
http://:{port} {{
  reverse_proxy 127.0.0.1:{api}
}}
"""
HAPROXY = """defaults\n mode http\n timeout connect 5s\n timeout client 9s\n timeout server 9s
 http-reuse always
frontend f\n bind 127.0.0.1:{port}\n default_backend b
backend b\n server s 127.0.0.1:{api}
"""
PROXIES = {
    "nginx": (NGINX, ["nginx", "-c", "{file}"]),
    "caddy": (CADDY, ["caddy", "run", "--adapter", "caddyfile", "--config", "{file}"]),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-f", "{file}"]),
}


def run(report: Report) -> None:
    with cluster("18") as postgres:
        postgres.start(fsync="off")
        postgres.migrated()
        with deployed(postgres.conninfo("tasks", "tasks_api", postgres.port), POOL_SIZE="4") as api:
            asyncio.run(filled(api))
            smuggle(report, api, port_of(api), "no proxy")
            for name in PROXIES:
                if not shutil.which(name):
                    report.say(f"{name}: NOT INSTALLED", "nothing was tried behind it")
                    continue
                with proxy(name, port_of(api)) as port:
                    smuggle(report, api, port, name)
            for clients in (24, 40):
                asyncio.run(pipelines(report, api, clients))
            asyncio.run(trailers(report, api))
            asyncio.run(unread(report, api))


async def filled(api: Api) -> None:
    """Create a thousand tasks of maximum size for the user `large`."""
    client = Client(port_of(api), "large", api.token("large"))
    for _ in range(1000):
        created = await client.ask("POST", value={"title": "x" * 200, "description": "\U0001f600" * 1000})
        assert created.status == 201, created


@contextlib.contextmanager
def proxy(name: str, api: int) -> Iterator[int]:
    """Run a proxy in front of the API, configured for websockets as its documentation recommends."""
    config, command = PROXIES[name]
    folder, port = Path(tempfile.mkdtemp(prefix="tasks")), free_port()
    (folder / "config").write_text(config.format(folder=folder, api=api, port=port))
    process = subprocess.Popen(
        [part.format(file=folder / "config") for part in command],
        env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def smuggle(report: Report, api: Api, port: int, where: str) -> None:
    """Hide a request in the body of one with an Upgrade; then send a request of another user, the victim."""
    victim = httpx.Client(headers={"Authorization": f"Bearer {api.token('victim')}"}, timeout=5)
    tasks = f"http://127.0.0.1:{port_of(api)}/api/victim/tasks"
    kept = victim.post(tasks, json={"title": "kept"}).json()["id"]
    mine = f"Authorization: Bearer {api.token('large')}\r\n".encode()  # a search that takes some milliseconds
    inside = wrong = trailed = 0
    for number in range(TIMES):
        late = (number % 5 + 1) * 0.002  # the body arrives after its head, and before the response
        hidden = b"DELETE /api/victim/tasks/%d HTTP/1.1\r\nX: " % kept
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        head = b"GET /api/large/tasks?limit=1000&search=zz HTTP/1.1\r\nHost: x\r\n" + mine
        head += b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
        for framing, body in (b"Content-Length: %d" % len(hidden), hidden), (CHUNKED, chunk):
            inside += said(port, head + framing + b"\r\n\r\n", body, late=late).count(b"HTTP/1.1 ") > 1
            with contextlib.suppress(httpx.TransportError):
                given = victim.get(f"http://127.0.0.1:{port}/api/victim/tasks/{kept}")
                wrong += given.status_code != 200 or given.json()["id"] != kept
        trailing = b"0\r\nAuthorization: Bearer " + api.token("victim").encode() + b"\r\n\r\n"
        head = b"GET /api/victim/tasks HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n\r\n"
        trailed += b" 200 " in said(port, head + trailing)
    gone = victim.get(f"{tasks}/{kept}").status_code != 200
    report.say(
        f"smuggling, {where}",
        f"{TIMES * 2} attacks: {inside} bodies answered as requests, {wrong} wrong answers to the victim, "
        f"the victim's task {'DELETED' if gone else 'kept'}; {trailed} of {TIMES} trailers authenticated",
    )
    report.expect(not (inside or wrong or trailed or gone), f"smuggling, {where}")


def said(port: int, *segments: bytes, late: float = 0) -> bytes:
    """Send segments; return what the server sends within 0.3 seconds."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for segment in segments:
            client.sendall(segment)
            time.sleep(late)
        while more := client.recv(65536):
            answer += more
    return answer


async def pipelines(report: Report, api: Api, clients: int) -> None:
    """Send 14,000 requests per write on each of so many connections, and read the responses."""
    before = rss(api.process.pid)

    async def flood() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))

        async def drain() -> None:
            while await reader.read(65536):
                pass

        reading = asyncio.create_task(drain())
        try:
            while True:
                writer.write(b"GET /x HTTP/1.1\r\n\r\n" * 14_000)
                await writer.drain()
        finally:
            reading.cancel()
            writer.transport.abort()

    taken, memory = await beside(api, [flood() for _ in range(clients)])
    report.say(
        f"{clients} connections send 14,000 at once",
        f"/health: {len(taken)} answers, p50 {quantile(taken, 0.5) * 1000:.0f} ms, "
        f"longest {max(taken) * 1000:.0f} ms; memory +{memory - before:.0f} MB",
    )
    report.expect(max(taken) < 2, f"{clients} pipelines: /health took {max(taken):.1f} s")


async def trailers(report: Report, api: Api) -> None:
    """Send an endless stream of trailers."""
    before = rss(api.process.pid)

    async def endless() -> None:
        with contextlib.suppress(OSError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
                writer.write(b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
                while not writer.transport.is_closing():
                    writer.write(b"a:\r\n" * 16_000)
                    await writer.drain()
                    await asyncio.sleep(0.001)

    taken, memory = await beside(api, [endless() for _ in range(2)])
    report.say(
        "2 connections send endless trailers",
        f"/health longest {max(taken) * 1000:.0f} ms; memory +{memory - before:.0f} MB in {SECONDS} s",
    )
    report.expect(memory - before < 50, f"trailers: memory grew by {memory - before:.0f} MB")


async def unread(report: Report, api: Api) -> None:
    """Request pages of 6 MB on 120 connections, and read none of them."""
    client = Client(port_of(api), "large", api.token("large"))
    page = len((await client.ask("GET", "?limit=1000")).body)
    before = rss(api.process.pid)
    sockets = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(120):
            deaf = socket.socket()
            sockets.append(deaf)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", port_of(api)))
            await loop.sock_sendall(deaf, client.head("GET", client.base + "?limit=1000", 0) * 5)
        await asyncio.sleep(60)

    taken, memory = await beside(api, [ask()])
    report.say(
        f"120 pages of {page / 1e6:.1f} MB that nobody reads",
        f"/health longest {max(taken) * 1000:.0f} ms; memory +{memory - before:.0f} MB",
    )
    report.expect(memory - before < 150, f"unread: memory grew by {memory - before:.0f} MB")
    for each in sockets:
        each.close()


async def beside(api: Api, attacks: list[object]) -> tuple[list[float], float]:
    """Request /health during the attacks; return its durations in seconds, and the maximum memory in MB."""
    tasks = [asyncio.ensure_future(attack) for attack in attacks]  # type: ignore[call-overload]  # coroutines
    other, taken, most = Client(port_of(api)), [], 0.0
    await asyncio.sleep(0.2)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        taken.append((await other.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).seconds)
        most = max(most, rss(api.process.pid))
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken, most
