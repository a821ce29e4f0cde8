"""Overload: the goodput stays constant, accepted requests stay fast, and no user blocks the others."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import time

from conftest import Api, deployed
from performance import wrk
from performance.concurrency import FEW
from support.faults import cluster, network
from support.load import QUICK, Client, Report, Response, port_of, quantile

SECONDS = 2 if QUICK else 4
SLOTS = {"POOL_SIZE": "4"}
USERS = [f"crowd-{n}" for n in range(50)]  # several, since one user gets at most half of the connections
CROWDS = (600, 1500) if QUICK else (600, 1500, 4000)
DELAY = 0.025  # seconds to and from the database, so that the capacity of four connections is known


def run(report: Report) -> None:
    with cluster("18") as postgres:
        postgres.start(fsync="off")
        postgres.migrated()
        with network(postgres.port) as between:
            with deployed(postgres.conninfo("tasks", "tasks_api", between.port), **SLOTS) as api:
                between.delay = DELAY
                asyncio.run(overload(report, api))
            between.delay = 0
            with deployed(postgres.conninfo("tasks", "tasks_api", between.port), **SLOTS) as api:
                asyncio.run(nuisances(report, api))
        wrk.ensure()
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        with deployed(postgres.conninfo("tasks", "tasks_api")) as api:
            asyncio.run(crowds(report, api))
        with postgres.connect("tasks") as owner:
            owner.execute(GREEDY)
        with deployed(postgres.conninfo("tasks", "tasks_api")) as api:
            asyncio.run(greed(report, api))


async def overload(report: Report, api: Api) -> None:
    idle = [another(api) for _ in range(44)]
    counts = await asyncio.gather(*(saturate(client) for client in idle))
    capacity = sum(counts) / SECONDS
    report.say("capacity", f"{capacity:.0f} requests/s (4 connections {DELAY * 2000:.0f} ms away)")
    for factor in (1, 2, 5, 10):
        answers = await offered(api, idle, capacity * factor)
        for answer in answers:
            report.count(answer, f"overload {factor}x")
        kept = [a.seconds for a in answers if a.status == 200]
        refused = [a.seconds for a in answers if a.status == 503]
        report.say(
            f"offered {factor} times the capacity",
            f"goodput {len(kept) / SECONDS:4.0f}/s, p50 {quantile(kept, 0.5) * 1000:4.0f} ms, "
            f"p99 {quantile(kept, 0.99) * 1000:4.0f} ms; refused {len(refused)}, "
            f"p99 {quantile(refused, 0.99) * 1000:4.0f} ms",
        )
        report.expect(len(kept) / SECONDS > 0.75 * capacity, f"goodput at {factor} times the capacity")


async def saturate(client: Client) -> int:
    done, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        done += (await client.ask("GET")).status == 200
    return done


async def offered(api: Api, idle: list[Client], rate: float) -> list[Response]:
    """Send requests at a constant rate, without waiting for responses."""
    answers: list[Response] = []

    async def one() -> None:
        client = idle.pop() if idle else another(api)
        with contextlib.suppress(OSError):  # the server may close an idle connection at this moment
            answers.append(await client.ask("GET"))
        idle.append(client)

    began, sent = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while (now := time.monotonic() - began) < SECONDS:
            while sent < now * rate:
                group.create_task(one())
                sent += 1
            await asyncio.sleep(0.002)
    return answers


def another(api: Api) -> Client:
    user = random.choice(USERS)
    return Client(port_of(api), user, api.token(user))


def raw(api: Api, method: str, user: str, rest: str = "", body: str = "") -> bytes:
    head = f"{method} /api/{user}/tasks{rest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token(user)}"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def crowds(report: Report, api: Api) -> None:
    """Each of many connections sends its next request as soon as it has a response. The database is fast."""
    requests = [raw(api, "GET", user) for user in USERS]
    victim = Client(port_of(api), "victim", api.token("victim"))

    async def load(connections: int) -> wrk.Load:
        return await asyncio.to_thread(wrk.run, api.url, requests, connections=connections, seconds=8)

    few, first = [await load(FEW)], rss(api.process.pid)
    for connections in CROWDS:
        crowd = await load(connections)
        memory = rss(api.process.pid) - first
        await asyncio.sleep(0.5)
        answer = await victim.ask("GET")
        report.count(answer, f"after {connections} connections")
        few.append(await load(FEW))
        steady, whole = crowd.relative_to(*few[-2:])
        report.say(
            f"{connections} connections without pauses",
            f"goodput {crowd.rate:5.0f}/s, x of {FEW} connections: steady {steady:.2f}, whole {whole:.2f}; "
            f"p50 {crowd.p50:4.0f} ms, p99 {crowd.p99:4.0f} ms, refused {crowd.refused}; "
            f"memory +{memory:.0f} MB; half a second later a request takes {answer.seconds * 1000:.0f} ms",
        )
        report.expect(steady > 0.75, f"goodput at {connections} connections")


# The most expensive search: at each position all characters but the first match.
GREEDY = """
insert into app.users (id, last_task_id) select 'greedy-' || u, 4000 from generate_series(1, 6) as u;
insert into app.tasks (id, user_id, title, description, updated_at)
select n, 'greedy-' || u, 'z', repeat('z', 1000), now()
from generate_series(1, 6) as u, generate_series(1, 4000) as n
"""


async def greed(report: Report, api: Api) -> None:
    """Send as many requests as possible for some users, or to /ready; measure the latency of another user."""
    victim = Client(port_of(api), "victim", api.token("victim"))
    quiet = [(await victim.ask("GET")).seconds for _ in range(200)]
    users = [f"greedy-{number}" for number in range(1, 7)]
    searches = [raw(api, "GET", user, f"?search=a{'z' * 99}") for user in users]
    creates = [raw(api, "POST", user, "", '{"title": "x"}') for user in users]
    attacks = {
        "24 connections of one user, the most expensive search": (24, searches[:1]),
        "144 connections of six users, the most expensive search": (144, searches),
        "250 connections of one user that create": (250, creates[:1]),
        "250 connections of six users that create": (250, creates),
        "200 connections of three users that search and three that create": (200, searches[:3] + creates[3:]),
        "250 connections that ask /ready": (250, [b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"]),
    }
    for name, (connections, requests) in attacks.items():
        attack = asyncio.create_task(
            asyncio.to_thread(wrk.run, api.url, requests, connections=connections, seconds=2 * SECONDS)
        )
        await asyncio.sleep(1)
        answers = []
        while not attack.done():
            answers.append(await victim.ask("GET"))
            await asyncio.sleep(0.01)
        load, refused = await attack, sum(answer.status != 200 for answer in answers)
        taken = [answer.seconds for answer in answers]
        report.say(
            name,
            f"{load.rate:.0f}/s for them; another user: p50 {quantile(quiet, 0.5) * 1000:.1f} -> "
            f"{quantile(taken, 0.5) * 1000:.1f} ms, p95 {quantile(taken, 0.95) * 1000:.0f} ms, "
            f"{refused} of {len(answers)} refused",
        )
        report.expect(not refused and quantile(taken, 0.95) < 0.1, f"another user beside {name}")
        await asyncio.sleep(0.5)


async def nuisances(report: Report, api: Api) -> None:
    """Slow clients, idle sockets, endless heads and bodies, and malformed pipelines."""
    victim = Client(port_of(api), "victim", api.token("victim"))
    before = await latency(victim)
    kinds = {
        "200 sockets that send nothing": [silent] * 200,
        "100 heads, a byte at a time": [slow_head] * 100,
        "100 bodies, a byte at a time": [slow_body] * 100,
        "10 endless heads": [giant] * 10,
        "20 endless bodies": [endless] * 20,
        "20 pipelines of garbage": [garbage] * 20,
        "50 that read no response": [deaf] * 50,
    }
    for name, kind in kinds.items():
        memory = rss(api.process.pid)
        tasks = [asyncio.create_task(each(api)) for each in kind]
        await asyncio.sleep(0.3)
        during = await latency(victim)
        grown = rss(api.process.pid) - memory
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        report.expect(grown < 60, f"{name}: memory grew by {grown:.0f} MB")
        report.say(
            name,
            f"others: p50 {quantile(before, 0.5) * 1000:.1f} -> {quantile(during, 0.5) * 1000:.1f} ms, "
            f"p99 {quantile(during, 0.99) * 1000:.0f} ms, all served; memory +{grown:.0f} MB",
        )


async def latency(client: Client) -> list[float]:
    taken = []
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        answer = await client.ask("GET")
        assert answer.status == 200, answer
        taken.append(answer.seconds)
        await asyncio.sleep(0.002)
    return taken


def rss(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - a short one
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def talk(api: Api, first: bytes, more: bytes, pause: float) -> None:
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
        del reader
        try:
            writer.write(first)
            while more:
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(pause)
            await asyncio.sleep(60)
        finally:
            writer.transport.abort()


def post(api: Api, rest: bytes) -> bytes:
    token = api.token("nuisance").encode()
    return b"POST /api/nuisance/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n" + rest


async def silent(api: Api) -> None:
    await talk(api, b"", b"", 0)


async def slow_head(api: Api) -> None:
    await talk(api, b"GET / HTTP/1.1\r\nX: ", b"x", 0.2)


async def slow_body(api: Api) -> None:
    await talk(api, post(api, b"Content-Length: 1000\r\n\r\n"), b" ", 0.2)


async def giant(api: Api) -> None:
    while True:
        await talk(api, b"GET / HTTP/1.1\r\nX: ", b"x" * 65536, 0)
        await asyncio.sleep(0.05)


async def endless(api: Api) -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    await talk(api, post(api, b"Transfer-Encoding: chunked\r\n\r\n"), chunk, 0.01)


async def garbage(api: Api) -> None:
    while True:
        await talk(api, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50, b"\x00\xff garbage", 0.01)
        await asyncio.sleep(0.02)


async def deaf(api: Api) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port_of(api)))
        await loop.sock_sendall(client, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await asyncio.sleep(60)
