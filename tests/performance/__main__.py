"""The parts of `make bench`: each measures, and prints a table. QUICK=1 shortens them."""

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from conftest import ROOT, Server

from performance import compare, concurrency, database, growth, roundtrips, tokens, wrk
from performance.report import compare as compare_with
from performance.report import table
from performance.traffic import OPERATIONS

FOLDER = ROOT / ".bench"
QUICK = bool(os.environ.get("QUICK"))
SIZES = {"1 thousand rows": 1000, "1 million rows": 1_000_000, "10 million rows": 10_000_000}


def side_by_side(server: Server) -> dict[str, Any]:
    """Compare all services: one process each, 16 client connections, 10 to the database."""
    with compare.contenders(server) as running:
        results = compare.measure(server, running, rounds=4 if QUICK else 8, seconds=1)
    others, rows = [name for name in running if name != "api"], []
    for operation in OPERATIONS:
        measured = results[operation]
        api = measured["api"]
        row: list[object] = [operation, *api.values()]
        for other in others:
            row += beside(api, measured.get(other))
        rows.append((*row, measured["database"]["rate"]))
    header = [f"{unit} {other}" for other in others for unit in ("req/s, x", "CPU, x")]
    table(
        "One process each: requests per second, latency in ms, CPU time in microseconds per request",
        ("operation", "req/s", "p50", "p95", "p99", "CPU", *header, "database's limit"),
        rows,
    )
    table(
        "Processes",
        ("", *results["memory"]),
        [("MB after it", *results["memory"].values()), ("seconds to start", *results["started"].values())],
    )
    return results


def beside(api: dict[str, float], other: dict[str, float] | None) -> tuple[object, object]:
    """Return the API's rate and its CPU per request as multiples of another service's."""
    return (api["rate"] / other["rate"], api["cpu"] / other["cpu"]) if other else (None, None)


def slow_network(server: Server) -> dict[str, Any]:
    """Count the round trips to the database, on the data of side_by_side."""
    results = roundtrips.measure(server, 1 if QUICK else 3)
    rows = [(operation, trips["api"], trips["peer"]) for operation, trips in results.items()]
    table("Round trips to the database per request", ("operation", "API", "peer"), rows)
    return results


def growing(server: Server) -> dict[str, Any]:
    """Measure latencies on databases of several sizes."""
    sizes = dict(list(SIZES.items())[: 2 if QUICK else 3])
    results = growth.measure(server, sizes, rounds=1 if QUICK else 3)
    columns = list(results["latencies"]["list"])
    rows = [(query, *(times.get(c) for c in columns)) for query, times in results["latencies"].items()]
    table("Growth: median latency in ms of one request at a time", ("request", *columns), rows)
    for query, plan in results["plans"].items():
        print(f"\n{query}, for the user with the most tasks:\n", *plan, sep="\n  ")
    return results


def many(server: Server) -> dict[str, Any]:
    """Measure several numbers of connections, and users who pause between requests."""
    conninfo = server.conninfo("tasks", "tasks_api")
    results = concurrency.measure(conninfo, 2 if QUICK else 5, 15 if QUICK else 60)
    names = {"users": f"10,000 who pause for 10 s, {concurrency.PROCESSES} processes"}
    rows = [(names.get(name, name), *measured.values()) for name, measured in results.items()]
    header = ("connections", "req/s", "p50", "p95", "p99", "refused", "broken", "MB per process")
    table("Concurrency: latency in ms", header, rows)
    return results


def crowds(server: Server) -> dict[str, Any]:
    """Measure more connections than can be served at once."""
    results = concurrency.crowds(server, rounds=1 if QUICK else 3)
    multiples = ("x of 100", "whole run", "CPU, x of 100")
    header = ("connections", *multiples, "req/s", "p50", "p95", "p99", "refused", "broken", "MB")
    rows = [(name, *measured.values()) for name, measured in results.items()]
    table("Crowds that send one request after the other: latency in ms", header, rows)
    return results


def checks(_: Server) -> dict[str, Any]:
    """Measure the verification of tokens, without a database."""
    results = tokens.measure()
    table("The verification of a token, in microseconds", list(results), [list(results.values())])
    return results


def main() -> None:
    """Run all parts, or those that the arguments name. Write the results of a complete run to a file."""
    wrk.ensure()
    parts = {part.__name__: part for part in (side_by_side, slow_network, many, crowds, growing, checks)}
    begun = time.monotonic()
    results: dict[str, Any] = {}
    python = f"Python {platform.python_version()}, {Path(sys.executable).resolve()}"
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {python}")
    with database.postgres() as server:
        for name in sys.argv[1:] or parts:
            results[name] = parts[name](server)
    print(f"\nIn {time.monotonic() - begun:,.0f} seconds.")
    if results.keys() == parts.keys():
        keep(results)


def keep(results: dict[str, Any]) -> None:
    """Compare the results with those in BASE, or with the previous ones; write them as JSON."""
    FOLDER.mkdir(exist_ok=True)
    latest = FOLDER / ("quick.json" if QUICK else "full.json")
    base = Path(os.environ.get("BASE") or latest)
    if base.exists():
        compare_with(results, base)
    latest.write_text(json.dumps(results, indent=1))
    print(
        f"\nWritten to {latest.relative_to(ROOT)}; to compare later runs with it, set BASE to a copy of it."
    )


if __name__ == "__main__":
    main()
