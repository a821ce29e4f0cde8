"""Refused requests leak no memory: each kind is sent many times, and the growth is measured."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable
from urllib.parse import quote

import jwt
import pytest
from conftest import Server, on_18
from starlette.types import ASGIApp, Message

from app import main
from app.api.parameters import MAX_QUERIES
from app.api.state import State

SECRET = "x" * 32
WANDA = jwt.encode({"sub": "wanda", "exp": 2**33}, SECRET, "HS256")
TASKS = "/api/wanda/tasks"
TIMES = 100
MAX_KEPT = 500  # bytes per request. An exception instance that is raised again would leak 8,000

# Status, method, target, body and further fields of each kind of request. `%d` becomes a unique number.
REFUSALS: dict[str, tuple[int, str, str, str, dict[str, str]]] = {
    "no refusal": (201, "POST", TASKS, '{"title": "%d"}', {}),
    "no JSON": (400, "POST", TASKS, "{%d", {}),
    "no token": (401, "GET", TASKS, "", {"authorization": ""}),
    "a forged token": (401, "GET", TASKS, "", {"authorization": f"Bearer {WANDA[:-9]}x%d"}),
    "a token of nonsense": (401, "GET", TASKS, "", {"authorization": "Bearer x%d"}),
    "another user": (403, "GET", "/api/bob%d/tasks", "", {}),
    "no such path": (404, "GET", "/nothing/%d", "", {}),
    "no such task": (404, "GET", f"{TASKS}/9000%d", "", {}),
    "no such method": (405, "DELETE", TASKS, "", {}),
    "another version": (412, "DELETE", f"{TASKS}/1", "", {"if-match": '"9%d"'}),
    "a large body": (413, "POST", TASKS, "x" * 65536 + "%d", {}),
    "a long query": (414, "GET", f"{TASKS}?" + "x" * 8192 + "%d", "", {}),
    "a stray cursor": (422, "GET", f"{TASKS}?cursor=x%d", "", {}),
    "a cursor of another ordering": (
        422,
        "GET",
        f"{TASKS}?cursor=eyJzb3J0IjoiY3JlYXRlZCIsIm9yZGVyIjoiZGVzYyIsImtleSI6bnVsbCwiaWQiOjF9&order=asc&x=%d",
        "",
        {},
    ),
    "a bad parameter": (422, "GET", f"{TASKS}?limit=x%d", "", {}),
    "a parameter of pages": (422, "GET", f"{TASKS}?skip=1%d", "", {}),
    "no id": (422, "GET", f"{TASKS}/x%d", "", {}),
    "no title": (422, "POST", TASKS, '{"x": %d}', {}),
    "a title that the database refuses": (422, "POST", TASKS, '{"title": "' + "x" * 201 + '%d"}', {}),
    "nesting": (422, "POST", TASKS, "[" * 60_000 + "%d", {}),
    "a bad key": (422, "POST", TASKS, '{"title": "x"}', {"idempotency-key": "é%d"}),
}


async def ask(app: ASGIApp, state: State, refusal: str, number: int) -> int:
    """Send the request as a server would; return the status."""
    _, method, target, body, fields = REFUSALS[refusal]
    target, body = target.replace("%d", str(number)), body.replace("%d", str(number))
    path, _, query = target.partition("?")
    given = {"host": "x", "authorization": f"Bearer {WANDA}"} | fields
    headers = [
        (name.encode(), value.replace("%d", str(number)).encode("latin-1")) for name, value in given.items()
    ]
    statuses = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "headers": headers,
        "state": dict(state),
    }
    await app(scope, receive, send)
    (status,) = statuses
    return int(status)


async def kept() -> int:
    """Return the allocated bytes after pending callbacks and a garbage collection."""
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@on_18
@pytest.mark.long
def test_no_refusal_leaks_memory(server: Server, database: str, configure: Callable[..., None]) -> None:
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=SECRET)
    grown: dict[str, float] = {}

    async def weigh() -> None:
        app = main.create_app()
        async with main.lifespan(app) as state:
            for refusal, (status, *_) in REFUSALS.items():
                first = MAX_QUERIES if "?" in REFUSALS[refusal][2] else 20  # fill the caches
                for number in range(first):
                    assert await ask(app, state, refusal, number) == status, refusal
                before = await kept()
                for number in range(first, first + TIMES):
                    await ask(app, state, refusal, number)
                grown[refusal] = (await kept() - before) / TIMES

    tracemalloc.start()
    try:
        asyncio.run(weigh())
    finally:
        tracemalloc.stop()
    assert {refusal: each for refusal, each in grown.items() if each > MAX_KEPT} == {}, json.dumps(grown)
