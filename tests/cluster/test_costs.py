"""The cost of a request on Citus and on the same PostgreSQL without it, in interleaved rounds."""

import asyncio
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Api, serving
from support.citus import ABSENT, NODE, Citus, programs
from support.faults import Cluster, cluster
from support.load import Client, port_of

if not os.environ.get("CLUSTER"):
    pytest.skip(f"only make cluster runs these tests. {ABSENT}", allow_module_level=True)

ROUNDS, REQUESTS = 6, 300  # a clock tick of the CPU is 10 ms
WORK = {
    "get": ("GET", "/1", None),
    "list": ("GET", "?limit=50", None),
    "create": ("POST", "", {"title": "Buy milk"}),
    "update": ("PUT", "/1", {"title": "Buy milk", "completed": True}),
}
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Side:
    """An API, and the PostgreSQL server that it uses."""

    api: Api
    postgres: Cluster

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds of the API and of the processes of its PostgreSQL server."""
        assert self.postgres.process
        parent, used = self.postgres.process.pid, {"API": 0, "PostgreSQL": 0}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = stat.read_text().rpartition(") ")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            if int(fields[1]) == parent:
                used["PostgreSQL"] += ticks
            if stat.parent.name == str(self.api.process.pid):
                used["API"] += ticks
        return {name: ticks / TICK for name, ticks in used.items()}


@contextmanager
def plain() -> Iterator[Side]:
    """Run the same PostgreSQL without the extension."""
    with cluster(str(programs())) as postgres:
        postgres.start(**{name: value for name, value in NODE.items() if "citus" not in f"{name}{value}"})
        postgres.migrated()
        with serving(postgres.conninfo("tasks", "tasks_api"), POOL_SIZE="1") as api:
            yield Side(api, postgres)


async def ask(side: Side, what: str) -> list[float]:
    """Send the same request repeatedly; return the duration of each in seconds."""
    client = Client(port_of(side.api), "alice", side.api.token("alice"))
    answers = [await client.ask(*WORK[what]) for _ in range(REQUESTS)]
    assert {answer.status for answer in answers} <= {200, 201}
    client.close()
    return [answer.seconds for answer in answers]


def test_what_a_request_costs(server: Citus, clone: str) -> None:
    latency: dict[tuple[str, str], list[float]] = defaultdict(list)
    cpu: dict[tuple[str, str, str], float] = defaultdict(float)
    with plain() as one, serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="1") as api:
        sides = {"plain": one, "Citus": Side(api, server.coordinator)}
        for side in sides.values():
            asyncio.run(ask(side, "create"))
        for _ in range(ROUNDS):
            for what in WORK:
                for name, side in sides.items():
                    before = side.cpu()
                    latency[what, name] += asyncio.run(ask(side, what))
                    for whose, seconds in side.cpu().items():
                        cpu[what, name, whose] += seconds - before[whose]
    print("\n              median ms: plain  Citus  ratio", end="")
    print("     CPU us of its PostgreSQL:   plain  Citus  ratio     of the API: plain  Citus  ratio")
    for what in WORK:
        a, b = (statistics.median(latency[what, name]) * 1e3 for name in sides)
        print(f"{what:10} {a:21.2f} {b:6.2f} {b / a:6.1f}", end="")
        for whose, width in {"PostgreSQL": 38, "API": 22}.items():
            c, d = (cpu[what, name, whose] / ROUNDS / REQUESTS * 1e6 for name in sides)
            print(f" {c:{width}.0f} {d:6.0f} {d / c if c else 0:6.1f}", end="")
        print()
