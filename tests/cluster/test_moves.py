"""Users work while shards move to a new worker and back, and a worker stops: no write of theirs is lost."""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from conftest import Api, serving
from support.citus import ABSENT, NODE, Citus
from support.faults import eventually
from support.load import Answer, Client, port_of

if not os.environ.get("CLUSTER"):
    pytest.skip(f"make cluster was not asked for. {ABSENT}", allow_module_level=True)

SOUND = "0 holes, 0 warnings on 4 servers\n"
USERS = 64
REQUESTS = int(os.environ.get("REQUESTS", "5000"))  # of the crossing


@dataclass
class Seen:
    """What users were answered, and what they were promised."""

    statuses: Counter[int] = field(default_factory=Counter)
    of_user: dict[str, Counter[int]] = field(default_factory=dict)
    created: dict[str, set[int]] = field(default_factory=dict)
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
        if answer.status == 503:
            self.last_refusal = time.monotonic()
        elif method != "GET":
            self.slowest_write = max(self.slowest_write, answer.seconds)
        if answer.status in (200, 201):
            value = json.loads(answer.body)
            tasks = value if isinstance(value, list) else [value]
            self.foreign += sum(task["user_id"] != user or task["title"] != user for task in tasks)
            if answer.status == 201:
                self.created.setdefault(user, set()).add(value["id"])


async def work(client: Client, user: str, seen: Seen, *, aborting: bool = False) -> None:
    """Ask for one thing; some hang up before the answer."""
    method, path, value = random.choice(
        [
            ("POST", "", {"title": user}),
            ("PUT", f"/{random.randint(1, 20)}", {"title": user}),
            ("PATCH", f"/{random.randint(1, 20)}/complete", None),
            ("GET", f"/{random.randint(1, 20)}", None),
            ("GET", "?limit=20", None),
        ]
    )
    try:
        async with asyncio.timeout(random.random() * 0.02 if aborting and random.random() < 0.02 else 20):
            seen.take(user, method, await client.ask(method, path, value))
    except TimeoutError:
        seen.broken_off += 1


@contextmanager
def working(api: Api, seen: Seen) -> Iterator[None]:
    """Have users work, eight at a time, until the end of the block."""
    stop = threading.Event()

    async def keep(number: int) -> None:
        users = [f"user-{n}" for n in range(number, USERS, 8)]
        clients = {user: Client(port_of(api), user, api.token(user)) for user in users}
        while not stop.is_set():
            user = random.choice(users)
            await work(clients[user], user, seen)
        for client in clients.values():
            client.close()

    async def everybody() -> None:
        await asyncio.gather(*map(keep, range(8)))

    thread = threading.Thread(target=lambda: asyncio.run(everybody()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def lost(connection: psycopg.Connection[tuple[object, ...]], seen: Seen) -> int:
    """Count the tasks that were acknowledged and are not there; nobody deletes any."""
    there = set(connection.execute("select user_id, id from app.tasks").fetchall())
    return sum((user, number) not in there for user, ids in seen.created.items() for number in ids)


def move(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """Have Citus even out the shards, online; return the seconds it took."""
    began = time.monotonic()
    connection.execute("select citus_rebalance_start(shard_transfer_mode => 'force_logical')")
    connection.execute("select citus_rebalance_wait()")
    states = connection.execute("select status::text, count(*) from pg_dist_background_task group by 1")
    assert {state for state, _ in states} == {"done"}
    return time.monotonic() - began


def placed(connection: psycopg.Connection[tuple[object, ...]], port: int) -> list[str]:
    """Name the users whose rows lie on a worker."""
    query = """
        select u.id from app.users as u
        join pg_dist_shard_placement as p
          on p.shardid = get_shard_id_for_distribution_column('app.users', u.id)
        where p.nodeport = %s
    """
    return [str(user) for (user,) in connection.execute(query, (port,))]


def say(what: str, seen: Seen) -> None:
    print(
        f"\n{what}: {seen.statuses.total()} requests, {dict(seen.statuses)}, {seen.broken_off} broken off, "
        f"{sum(map(len, seen.created.values()))} creates acknowledged, {seen.foreign} foreign rows, "
        f"slowest write {seen.slowest_write:.3f} s"
    )


def test_no_write_is_lost_while_shards_move_to_a_new_worker_and_back(server: Citus, clone: str) -> None:
    with (
        serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="8") as api,
        server.connect(clone) as connection,
    ):
        for direction in ("onto a third worker", "back onto two"):
            seen = Seen()
            if direction.startswith("onto"):
                third = server.start_worker()
                server.admit(third, clone)
                connection.execute("select citus_add_node('127.0.0.1', %s)", (third.port,))
                server.spread(clone)
                assert server.command("audit", clone).stdout == SOUND
            else:
                connection.execute(
                    "select citus_set_node_property('127.0.0.1', %s, 'shouldhaveshards', false)",
                    (third.port,),
                )
            with working(api, seen):
                time.sleep(1)
                took = move(connection)
                time.sleep(1)
            say(f"moved {direction} in {took:.1f} s", seen)
            assert bool(placed(connection, third.port)) == direction.startswith("onto")
            assert (lost(connection, seen), seen.foreign, seen.unsound) == (0, 0, [])
            assert set(seen.statuses) <= {200, 201, 404, 503}
            assert server.command("audit", clone).stdout == SOUND
        server.stop_worker(third, clone)


def test_only_the_users_of_a_worker_that_stops_are_refused(server: Citus, clone: str) -> None:
    with (
        serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="8") as api,
        server.connect(clone) as connection,
    ):
        before, during, after = Seen(), Seen(), Seen()
        with working(api, before):
            eventually(lambda: len(before.created) == USERS, 60)
        worker = server.workers[0]
        hit = set(placed(connection, worker.port))
        assert 0 < len(hit) < USERS
        worker.end(signal.SIGQUIT)
        with working(api, during):
            time.sleep(5)
        worker.start(**NODE)
        returned = time.monotonic()
        with working(api, after):
            time.sleep(5)
        for what, seen in {"a worker stopped": during, "back": after}.items():
            say(what, seen)
            assert (seen.foreign, seen.unsound) == (0, [])
        print(f"the last 503 came {max(0, after.last_refusal - returned):.2f} s after its return")
        others = sum((n for user, n in during.of_user.items() if user not in hit), Counter())
        assert 503 not in others
        assert {503} == {status for user in hit for status in during.of_user.get(user, {503: 1})}
        assert lost(connection, before) == lost(connection, during) == lost(connection, after) == 0


def test_two_hundred_users_on_few_connections_never_meet(server: Citus, clone: str) -> None:
    seen = Seen()

    async def shoot(api: Api) -> None:
        names = [f"user-{n}" for n in range(200)]
        tokens = {name: api.token(name) for name in names}
        left = iter(range(REQUESTS))

        async def keep() -> None:
            client = Client(port_of(api))
            for _ in left:
                user = random.choice(names)
                client.base, client.token = f"/api/{user}/tasks", tokens[user]
                await work(client, user, seen, aborting=True)
            client.close()

        await asyncio.gather(*(keep() for _ in range(24)))

    with serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="4") as api:
        asyncio.run(shoot(api))
        with server.connect(clone) as connection:
            strays = connection.execute("select 1 from app.tasks where title <> user_id").rowcount
    say("crossed", seen)
    assert (seen.foreign, strays, seen.unsound) == (0, 0, [])
