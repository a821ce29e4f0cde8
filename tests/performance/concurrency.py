"""Many concurrent connections, and ten thousand users who pause between two requests."""

import os
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from statistics import mean, median
from typing import Any

from conftest import Server

from performance import database, services, wrk
from performance.traffic import own_id, request, requests

CONNECTIONS = (1, 16, 256, 1000)
FEW, CROWDS = 100, (600, 1500, 4000)  # connections; each sends its next request as soon as it has a response
CROWD_SECONDS = 8
WORST = {"p99", "refused", "broken", "memory"}
USERS = 10_000  # more than there are connections, so that no user has two waiting requests
PROCESSES = 4  # for USERS; an idle connection takes 6 kB of memory
THINK = 10_000  # ms on average between two requests of a user

# The weights of the operations: front ends mostly read.
MIX = {"list": 60, "get": 20, "update": 8, "complete": 6, "create": 6}


def mixed() -> Iterator[bytes]:
    """Yield requests of all operations, endlessly."""
    streams = {operation: requests(operation, own_id, seed=3) for operation in MIX}
    chosen = random.Random(4)
    while True:
        operation = chosen.choices(list(MIX), list(MIX.values()))[0]
        yield next(streams[operation])


def measure(conninfo: str, seconds: float, users_seconds: float) -> dict[str, Any]:
    """Return the figures of each number of connections, with the memory of the process afterwards."""
    results: dict[str, Any] = {}
    stream = mixed()
    for connections in CONNECTIONS:
        with services.api(conninfo) as api:
            wrk.run(api.url, islice(stream, 5000), connections=min(connections, 64), seconds=1)
            results[str(connections)] = _load(api, islice(stream, 20_000), connections, seconds)
    with services.api(conninfo, WEB_CONCURRENCY=str(PROCESSES)) as api:
        results["users"] = _load(api, islice(stream, 20_000), USERS, users_seconds, THINK)
    return results


def crowds(server: Server, rounds: int) -> dict[str, dict[str, float]]:
    """Return the figures of each number of connections, and multiples of those of FEW connections.

    FEW are measured before and after each load. `steady` is the multiple of the rate after WARM_UP of wrk.py,
    `whole` that of the rate of the whole load, `cpu` that of the CPU time per successful response.
    Each figure is the median of the rounds, or the largest (WORST): the speed of a shared machine changes
    within seconds.
    """
    conninfo = database.create(server, "crowd", USERS)
    serving = {"api": services.api(conninfo), "floor": services.other("performance.floor:app")}
    if os.environ.get("NODE"):
        serving["fastify"] = services.fastify(server, "crowd")
    stream = [request("get", str(user), database.TASKS // 2) for user in range(1, USERS + 1)]
    results = {}
    for name, starting in serving.items():
        with starting as service:
            before = _crowd(service, stream, FEW)
            for connections in CROWDS:
                measured = []
                for _ in range(rounds):
                    load, cpu = _crowd(service, stream, connections)
                    figures = _figures(service, load)
                    after = _crowd(service, stream, FEW)
                    steady, whole = load.relative_to(before[0], after[0])
                    multiples = {"steady": steady, "whole": whole, "cpu": cpu / mean((before[1], after[1]))}
                    measured.append({**multiples, **figures})
                    before = after
                results[f"{name}, {connections}"] = {
                    figure: (max if figure in WORST else median)(each[figure] for each in measured)
                    for figure in measured[0]
                }
    return results


def _crowd(service: services.Service, stream: list[bytes], connections: int) -> tuple[wrk.Load, float]:
    """Return the load, and the microseconds of CPU time of the process per successful response."""
    before = service.cpu
    load = wrk.run(service.url, stream, connections=connections, seconds=CROWD_SECONDS)
    return load, (service.cpu - before) / (load.requests - load.refused)


def _load(
    api: services.Service, stream: Iterable[bytes], connections: int, seconds: float, think: int = 0
) -> dict[str, float]:
    return _figures(api, wrk.run(api.url, stream, connections=connections, seconds=seconds, think=think))


def _figures(service: services.Service, load: wrk.Load) -> dict[str, float]:
    return {
        "rate": load.rate,
        "p50": load.p50,
        "p95": load.p95,
        "p99": load.p99,
        "refused": load.refused,
        "broken": load.broken,
        "memory": service.memory,
    }
