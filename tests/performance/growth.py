"""How latencies grow with the number of rows: the same requests on small and large databases."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from typing import Any

import httpx
from conftest import Server

from app.api.pages import Page
from app.api.statements import GET_TASK, list_page
from app.postgres.connection import positional
from performance import database, services, wrk
from performance.database import TASKS
from performance.traffic import bearer, request

BUSY = 100_000  # tasks of the user `busy`
PAGE = 100
USERS = 2000  # users whose tasks are requested
GROWTH = 1.5  # the factor from which the query plan is reported

# The query of each request. Only the user `busy` has a page 1,000.
QUERIES = {
    "list": "",
    "list pending": "?status=pending",
    "page 1": f"?limit={PAGE}",
    "page 1,000": "",
    "search": "?search=200",
    "sort by title": "?sort=title",
    "get": "",
    "create": "",
}


@dataclass(frozen=True)
class Database:
    """A database, and the API that uses it."""

    name: str
    users: int
    busy: int
    api: services.Service


def measure(server: Server, sizes: Mapping[str, int], rounds: int) -> dict[str, Any]:
    """Return the median latency in ms of each request, per database and kind of user, and the plans."""
    with ExitStack() as stack:
        databases = []
        for name, rows in sizes.items():
            busy = min(BUSY, rows // 2)
            conninfo = database.create(server, f"growth_{rows}", (rows - busy) // TASKS, busy)
            api = stack.enter_context(services.api(conninfo, POOL_SIZE="1"))
            databases.append(Database(name, (rows - busy) // TASKS, busy, api))
        samples = _samples(databases, rounds)
    latencies = {
        query: {column: median(taken) for column, taken in columns.items()}
        for query, columns in samples.items()
    }
    return {"latencies": latencies, "plans": _plans(server, f"growth_{rows}", latencies)}


def _samples(databases: list[Database], rounds: int) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {}
    last = databases[-1]
    for query in QUERIES:
        loads = {d.name: (d, _everyone(query, d.users)) for d in databases if query != "page 1,000"}
        loads[f"own {last.busy:,}"] = (last, _busy(query, last.api.url))
        for _ in range(rounds):
            for column, (where, stream) in loads.items():
                latency = wrk.run(where.api.url, islice(stream, 2000), connections=1, seconds=1).p50
                samples.setdefault(query, {}).setdefault(column, []).append(latency)
    return samples


def _everyone(query: str, users: int) -> Iterator[bytes]:
    """Yield requests of many users with TASKS tasks each."""
    operation = query if query in {"get", "create"} else "list"
    for n in cycle(range(USERS)):
        user = n * 7919 % users + 1
        yield request(operation, str(user), n % TASKS + 1, n, QUERIES[query])


def _busy(query: str, url: str) -> Iterator[bytes]:
    """Yield requests of the user with the most tasks."""
    operation = query if query in {"get", "create"} else "list"
    parameters = _far(url) if query == "page 1,000" else QUERIES[query]
    for n in cycle(range(USERS)):
        yield request(operation, "busy", n * 7919 % BUSY + 1, n, parameters)


def _far(url: str) -> str:
    """Follow `Link` to page 1,000, first with larger pages; return its query."""
    query = "?limit=1000"
    headers = {"Authorization": f"Bearer {bearer('busy')}"}
    steps, left = divmod(999 * PAGE, 1000)
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        for step in range(steps + left // PAGE):
            query = query if step != steps else query.replace("limit=1000", f"limit={PAGE}")
            query = "?" + client.get(f"/api/busy/tasks{query}").links["next"]["url"].partition("?")[2]
    return query


def _plans(server: Server, name: str, latencies: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    """Return the generic query plans, for `busy`, of the requests whose latency grows."""
    plans = {}
    with server.connect(name, "tasks_api") as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("set app.user_id = 'busy'")
        connection.execute(f"delete from app.tasks where id > {BUSY}")  # the tasks that `create` has added
        for query, columns in latencies.items():
            *everyone, busy = columns.values()
            if everyone and max(busy, everyone[-1]) > GROWTH * everyone[0] and query != "create":
                statement, values = _statement(query)
                sql, names = positional(statement)
                given = [values[name] for name in names]
                arguments = ", ".join("null" if value is None else repr(str(value)) for value in given)
                connection.execute(b"deallocate all", prepare=False)
                connection.execute(b"prepare it as " + sql)
                rows = connection.execute(
                    f"explain (analyze, buffers, costs off) execute it ({arguments})".encode()
                )
                plans[query] = [str(row[0]) for row in rows]
    return plans


def _statement(query: str) -> tuple[str, dict[str, object]]:
    if query == "get":
        return GET_TASK, {"user_id": "busy", "id": BUSY // 2}
    page = Page.model_validate(dict(httpx.QueryParams(QUERIES[query].lstrip("?"))))
    statement, values = list_page(page)
    return statement, {"user_id": "busy", **values}
