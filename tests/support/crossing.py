"""Concurrent users whose tasks have the same ids, and a check that no user gets a row of another."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from conftest import Api

from support.load import Client, Response, port_of

Request = tuple[str, str, object, dict[str, str]]  # method, end of the path, body, header fields

# The user and the number of visible rows of a connection outside of requests: '' and 0 if nothing was left
# behind.
LEFT = "select coalesce(current_setting('app.user_id', true), ''), (select count(*) from app.tasks)"


@dataclass
class Seen:
    """Counts of responses, rows and created ids."""

    statuses: Counter[int] = field(default_factory=Counter)
    of_user: dict[str, Counter[int]] = field(default_factory=dict)
    created: dict[str, set[int]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # details of 5xx responses
    rows: int = 0
    foreign: int = 0
    unsound: list[bytes] = field(default_factory=list)
    slowest_write: float = 0.0
    last_refusal: float = 0.0
    broken_off: int = 0

    def take(self, user: str, method: str, answer: Response) -> None:
        self.statuses[answer.status] += 1
        self.of_user.setdefault(user, Counter())[answer.status] += 1
        if not answer.sound:
            self.unsound.append(answer.body[:200])
        if answer.status >= 500:
            self.refusals[json.loads(answer.body)["detail"]] += 1
            self.last_refusal = time.monotonic()
        elif method != "GET":
            self.slowest_write = max(self.slowest_write, answer.seconds)
        if answer.status in (200, 201):
            value = json.loads(answer.body)
            tasks = value if isinstance(value, list) else [value]
            self.rows += len(tasks)
            self.foreign += sum(
                task["user_id"] != user or not task["title"].startswith(f"{user}:") for task in tasks
            )
            if answer.status == 201:
                self.created.setdefault(user, set()).add(value["id"])

    def __str__(self) -> str:
        return (
            f"{self.statuses.total() + self.broken_off:,} requests, {dict(sorted(self.statuses.items()))}, "
            f"{self.broken_off:,} broken off, {sum(map(len, self.created.values())):,} creates acknowledged, "
            f"{self.rows:,} rows seen, {self.foreign} foreign, slowest write {self.slowest_write:.3f} s"
            + "".join(f"\n  {number} x {detail}" for detail, number in self.refusals.items())
        )


def choose(user: str) -> Request:
    """Return a random request. Many users have tasks with these ids; each title begins with its user."""
    task, key = {"title": f"{user}: one"}, {"Idempotency_Key": str(random.randint(1, 20))}
    return random.choice(
        [
            ("POST", "", task, {}),
            ("POST", "", task, key),
            ("PUT", f"/{random.randint(1, 20)}", task, {}),
            ("PATCH", f"/{random.randint(1, 20)}/complete", None, {}),
            ("GET", f"/{random.randint(1, 20)}", None, {}),
            ("GET", "?limit=20", None, {}),
        ]
    )


async def work(
    client: Client,
    user: str,
    seen: Seen,
    aborting: float = 0,
    choose: Callable[[str], Request] = choose,
) -> None:
    """Send one random request. The share `aborting` of them is cancelled before the response."""
    method, path, value, headers = choose(user)
    try:
        async with asyncio.timeout(random.random() * 0.02 if random.random() < aborting else 20):
            seen.take(user, method, await client.ask(method, path, value, **headers))
    except TimeoutError:
        seen.broken_off += 1
    except OSError as error:
        seen.unsound.append(repr(error).encode())


def tokens_of(api: Api, users: int) -> dict[str, str]:
    """Return the tokens of this number of users, by name."""
    return {name: api.token(name) for name in (f"user-{number}" for number in range(users))}


async def cross(  # noqa: PLR0913 - the parameters of one load
    port: int,
    tokens: Mapping[str, str],
    *,
    requests: int,
    clients: int,
    aborting: float,
    choose: Callable[[str], Request] = choose,
) -> Seen:
    """Send requests from several clients, each request for a random user."""
    seen = Seen()
    names, left = list(tokens), iter(range(requests))

    async def keep() -> None:
        client = Client(port)
        for _ in left:
            user = random.choice(names)
            client.base, client.token = f"/api/{user}/tasks", tokens[user]
            await work(client, user, seen, aborting, choose)
        client.close()

    await asyncio.gather(*(keep() for _ in range(clients)))
    return seen


def left_behind(conninfo: str) -> bool:
    """Return whether a connection of the API's role has a user or sees rows outside of a request."""
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection,
    ):
        ((user, rows),) = connection.execute(LEFT).fetchall()
        return bool(user or rows)
    return False


def cross_while_looking(api: Api, pooler: str, users: int, **crossing: Any) -> tuple[Seen, int, int]:
    """Run cross() and inspect the pooler's connections meanwhile.

    Return the counts of cross(), the number of inspections, and how many of them found a user left behind.
    """
    looks = left = 0
    with ThreadPoolExecutor() as pool:
        job = pool.submit(lambda: asyncio.run(cross(port_of(api), tokens_of(api, users), **crossing)))
        while not job.done():
            looks, left = looks + 1, left + left_behind(pooler)
    return job.result(), looks, left
