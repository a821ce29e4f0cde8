"""Many connections at once, and ten thousand users who think between two requests."""

import os
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from conftest import Server

from performance import database, services, wrk
from performance.traffic import own_id, request, requests

CONNECTIONS = (1, 16, 256, 1000)
FEW, CROWDS = 100, (600, 1500, 4000)  # connections; each sends its next request as soon as it has a response
CROWD_USERS = 1000
USERS = 10_000
PROCESSES = 4  # for them: an idle connection takes 6 kB of one
THINK = 10_000  # ms on average between two requests of a user

# What front ends do: mostly look.
MIX = {"list": 60, "get": 20, "update": 8, "complete": 6, "create": 6}


def mixed() -> Iterator[bytes]:
    """Yield requests of all kinds without end."""
    streams = {operation: requests(operation, own_id, seed=3) for operation in MIX}
    chosen = random.Random(4)
    while True:
        operation = chosen.choices(list(MIX), list(MIX.values()))[0]
        yield next(streams[operation])


def measure(conninfo: str, seconds: float, users_seconds: float) -> dict[str, Any]:
    """Return what each number of connections got, and the process's memory after it."""
    results: dict[str, Any] = {}
    stream = mixed()
    for connections in CONNECTIONS:
        with services.api(conninfo) as api:
            wrk.run(api.url, islice(stream, 5000), connections=min(connections, 64), seconds=1)
            results[str(connections)] = _load(api, islice(stream, 20_000), connections, seconds)
    with services.api(conninfo, WEB_CONCURRENCY=str(PROCESSES)) as api:
        results["users"] = _load(api, islice(stream, 20_000), USERS, users_seconds, THINK)
    return results


def crowds(server: Server, seconds: float) -> dict[str, dict[str, float]]:
    """Return what each number of connections got, as a multiple of what FEW got immediately before.

    All users send equally many requests. With the queue, a user who sends more than the others waits longer.
    """
    conninfo = database.create(server, "crowd", CROWD_USERS)
    serving = {"api": services.api(conninfo), "floor": services.other("performance.floor:app")}
    if os.environ.get("NODE"):
        serving["fastify"] = services.fastify(server, "crowd")
    stream = [request("get", str(user), database.TASKS // 2) for user in range(1, CROWD_USERS + 1)]
    results = {}
    for name, starting in serving.items():
        with starting as service:
            for connections in CROWDS:
                few = wrk.run(service.url, stream, connections=FEW, seconds=seconds)
                load = _load(service, stream, connections, seconds)
                results[f"{name}, {connections}"] = {"ratio": load["rate"] / few.rate, **load}
    return results


def _load(
    api: services.Service, stream: Iterable[bytes], connections: int, seconds: float, think: int = 0
) -> dict[str, float]:
    load = wrk.run(api.url, stream, connections=connections, seconds=seconds, think=think)
    return {
        "rate": load.rate,
        "p50": load.p50,
        "p95": load.p95,
        "p99": load.p99,
        "refused": load.refused,
        "broken": load.broken,
        "memory": api.memory,
    }
