"""More than it can do: goodput stays flat, the accepted keep their latency, and nobody stops the others."""

import asyncio
import contextlib
import os
import socket
import time

from conftest import Api, serving
from load import QUICK, Answer, Client, Report, port_of, quantile
from support.faults import cluster, network

SECONDS = 2 if QUICK else 4
SLOTS = {"POOL_SIZE": "4", "POOL_QUEUE": "40"}
DELAY = 0.025  # seconds to and from the database: four connections do a known number of requests


def run(report: Report) -> None:
    with cluster("18") as postgres:
        postgres.start(fsync="off")
        postgres.migrated()
        with network(postgres.port) as between:
            with serving(postgres.conninfo("tasks", "tasks_api", between.port), **SLOTS) as api:
                between.delay = DELAY
                asyncio.run(overload(report, api))
            between.delay = 0
            with serving(postgres.conninfo("tasks", "tasks_api", between.port), **SLOTS) as api:
                asyncio.run(nuisances(report, api))


async def overload(report: Report, api: Api) -> None:
    token = api.token("crowd")
    idle = [Client(port_of(api), "crowd", token) for _ in range(44)]
    counts = await asyncio.gather(*(saturate(client) for client in idle))
    capacity = sum(counts) / SECONDS
    report.say("capacity", f"{capacity:.0f} requests/s (4 connections {DELAY * 2000:.0f} ms away)")
    for factor in (1, 2, 5, 10):
        answers = await offered(api, token, idle, capacity * factor)
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


async def offered(api: Api, token: str, idle: list[Client], rate: float) -> list[Answer]:
    """Send at a rate, however long the answers take."""
    answers: list[Answer] = []

    async def one() -> None:
        client = idle.pop() if idle else Client(port_of(api), "crowd", token)
        with contextlib.suppress(OSError):  # an idle connection that the server closes at this very moment
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


async def nuisances(report: Report, api: Api) -> None:
    """Slow clients, half-open sockets, giant heads, pipelined garbage, endless bodies."""
    victim = Client(port_of(api), "victim", api.token("victim"))
    before = await latency(victim)
    kinds = {
        "200 sockets that say nothing": [silent] * 200,
        "100 heads, a byte at a time": [slow_head] * 100,
        "100 bodies, a byte at a time": [slow_body] * 100,
        "10 heads without end": [giant] * 10,
        "20 bodies without end": [endless] * 20,
        "20 pipelines of garbage": [garbage] * 20,
        "50 that read no answer": [deaf] * 50,
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
            f"p99 {quantile(during, 0.99) * 1000:.0f} ms, all answered; memory +{grown:.0f} MB",
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
