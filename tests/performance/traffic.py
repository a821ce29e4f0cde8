"""The bytes of the requests of each operation."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count, cycle
from random import Random

from performance.database import TASKS
from performance.services import token

USERS = 10_000
DELETED = 10  # tasks of each user that the API deletes; the second half of all tasks is for pgbench
Identity = Callable[[int, int], int]  # returns the id of a task from the numbers of its user and the task

# Titles and descriptions have a typical length.
BODIES: Mapping[str, Callable[[int], object]] = {
    "create": lambda n: {"title": f"Buy milk and bread {n}", "description": "The blue one, for breakfast"},
    "update": lambda n: {"title": f"Buy milk and butter {n}"},
    "complete": lambda n: {"completed": n % 2 == 0},
}
METHODS = {"create": "POST", "update": "PUT", "complete": "PATCH", "delete": "DELETE"}
OPERATIONS = ("list", "get", "create", "update", "complete", "delete")


@cache
def bearer(user: str) -> str:
    return token(user)


def request(operation: str, user: str, task: int = 0, n: int = 0, query: str = "") -> bytes:
    """Return a request with the headers that a front end sends."""
    path = f"/api/{user}/tasks" + ("" if operation in {"list", "create"} else f"/{task}")
    path += "/complete" if operation == "complete" else query
    body = json.dumps(BODIES[operation](n)).encode() if operation in BODIES else b""
    lines = [
        f"{METHODS.get(operation, 'GET')} {path} HTTP/1.1",
        "Host: localhost",
        "Accept: application/json",
        f"Authorization: Bearer {bearer(user)}",
    ]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def own_id(_: int, task: int) -> int:
    """Return the id of a task if each user has ids of their own."""
    return task


def requests(operation: str, identity: Identity, seed: int = 1) -> Iterator[bytes]:
    """Yield requests in random order, endlessly. Those of `delete` are for other tasks than the rest."""
    first, last = (0, DELETED) if operation == "delete" else (DELETED, TASKS // 2)
    places = Random(seed).sample(range(first * USERS, last * USERS), USERS * 10)
    for n, place in zip(count(), cycle(places), strict=False):
        user, task = place % USERS + 1, place // USERS + 1
        yield request(operation, str(user), identity(user, task), n)
