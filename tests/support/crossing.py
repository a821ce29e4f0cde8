"""Users at work, on ids that many of them have, and what they were answered."""

import asyncio
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from conftest import Api

from support.load import Answer, Client, port_of

# What a connection of the API's role shows that is nobody's turn: no user, no rows.
LEFT = "select coalesce(current_setting('app.user_id', true), ''), (select count(*) from app.tasks)"


@dataclass
class Seen:
    """What users were answered, and what they were promised."""

    statuses: Counter[int] = field(default_factory=Counter)
    of_user: dict[str, Counter[int]] = field(default_factory=dict)
    created: dict[str, set[int]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # what 5xx said
    rows: int = 0
    foreign: int = 0
    unsound: list[bytes] = field(default_factory=list)
    slowest_write: float = 0.0
    last_refusal: float = 0.0
    broken_off: int = 0

    def take(self, user: str, method: str, answer: Answer) -> None:
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
            self.foreign += sum(task["user_id"] != user or task["title"] != user for task in tasks)
            if answer.status == 201:
                self.created.setdefault(user, set()).add(value["id"])

    def __str__(self) -> str:
        return (
            f"{self.statuses.total() + self.broken_off:,} requests, {dict(sorted(self.statuses.items()))}, "
            f"{self.broken_off:,} broken off, {sum(map(len, self.created.values())):,} creates acknowledged, "
            f"{self.rows:,} rows seen, {self.foreign} foreign, slowest write {self.slowest_write:.3f} s"
            + "".join(f"\n  {number} x {said}" for said, number in self.refusals.items())
        )


async def work(client: Client, user: str, seen: Seen, *, aborting: float = 0) -> None:
    """Ask for one thing; this share of them hangs up before the answer."""
    key = {"Idempotency_Key": str(random.randint(1, 20))}
    method, path, value, headers = random.choice(
        [
            ("POST", "", {"title": user}, {}),
            ("POST", "", {"title": user}, key),
            ("PUT", f"/{random.randint(1, 20)}", {"title": user}, {}),
            ("PATCH", f"/{random.randint(1, 20)}/complete", None, {}),
            ("GET", f"/{random.randint(1, 20)}", None, {}),
            ("GET", "?limit=20", None, {}),
        ]
    )
    try:
        async with asyncio.timeout(random.random() * 0.02 if random.random() < aborting else 20):
            seen.take(user, method, await client.ask(method, path, value, **headers))
    except TimeoutError:
        seen.broken_off += 1


async def cross(api: Api, users: int, requests: int, clients: int, aborting: float) -> Seen:
    """Have clients ask, each time for another user."""
    seen = Seen()
    tokens = {name: api.token(name) for name in (f"user-{number}" for number in range(users))}
    names, left = list(tokens), iter(range(requests))

    async def keep() -> None:
        client = Client(port_of(api))
        for _ in left:
            user = random.choice(names)
            client.base, client.token = f"/api/{user}/tasks", tokens[user]
            await work(client, user, seen, aborting=aborting)
        client.close()

    await asyncio.gather(*(keep() for _ in range(clients)))
    return seen


def left_behind(conninfo: str) -> bool:
    """Look, as the API's role but for nobody, whether a connection still acts for somebody."""
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as stranger,
    ):
        ((user, rows),) = stranger.execute(LEFT).fetchall()
        return bool(user or rows)
    return False


def cross_watched(api: Api, pooler: str, **crossing: Any) -> tuple[Seen, int, int]:
    """Do so, looking at the pooler's connections meanwhile; return the looks too, and what they saw left."""
    looks = left = 0
    with ThreadPoolExecutor() as pool:
        job = pool.submit(lambda: asyncio.run(cross(api, **crossing)))
        while not job.done():
            looks, left = looks + 1, left + left_behind(pooler)
    return job.result(), looks, left
