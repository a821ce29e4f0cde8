"""No write is lost while shards move to another worker and back, or while a worker is stopped."""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from conftest import Api, serving
from support.citus import ABSENT, NODE, Citus
from support.crossing import Seen, cross, cross_while_looking, tokens_of, work
from support.faults import PGBOUNCER, Cluster, eventually, pgbouncer
from support.load import Client, port_of

from app.api.errors import LOST, SLOW

if not os.environ.get("CLUSTER"):
    pytest.skip(f"only make cluster runs these tests. {ABSENT}", allow_module_level=True)

ANY_SHARD = """
select shardid, nodeport from pg_dist_shard_placement join pg_dist_shard using (shardid)
where logicalrelid = 'app.tasks'::regclass order by random() limit 1
"""
MOVE = "select citus_move_shard_placement(%s, '127.0.0.1', %s, '127.0.0.1', %s, 'force_logical')"
SOUND = "0 holes, 0 warnings on 4 servers\n"
STRAYS = "select from app.tasks where not starts_with(title, user_id || ':')"
USERS = 64
REQUESTS = int(os.environ.get("REQUESTS", "5000"))  # sent by cross()


@contextmanager
def working(api: Api, seen: Seen) -> Iterator[None]:
    """Send requests of many users, eight at a time, until the end of the block."""
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
    """Return how many acknowledged tasks are missing. No request deletes a task."""
    there = set(connection.execute("select user_id, id from app.tasks").fetchall())
    return sum((user, number) not in there for user, ids in seen.created.items() for number in ids)


def move(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """Rebalance the shards online, and delete the old ones; return the duration in seconds."""
    began = time.monotonic()
    connection.execute("select citus_rebalance_start(shard_transfer_mode => 'force_logical')")
    connection.execute("select citus_rebalance_wait()")
    states = connection.execute("select status::text, count(*) from pg_dist_background_task group by 1")
    assert {state for state, _ in states} == {"done"}
    # Otherwise Citus does this some seconds later, and until then an audit finds shards without policies.
    connection.execute("call citus_cleanup_orphaned_resources()")
    return time.monotonic() - began


def placed(connection: psycopg.Connection[tuple[object, ...]], port: int) -> list[str]:
    """Return the users whose rows are on a worker."""
    query = """
        select u.id from app.users as u
        join pg_dist_shard_placement as p
          on p.shardid = get_shard_id_for_distribution_column('app.users', u.id)
        where p.nodeport = %s
    """
    return [str(user) for (user,) in connection.execute(query, (port,))]


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
            print(f"\nmoved {direction} in {took:.1f} s: {seen}")
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
            print(f"\n{what}: {seen}")
            assert (seen.foreign, seen.unsound) == (0, [])
        print(f"the last 503 came {max(0, after.last_refusal - returned):.2f} s after its return")
        others = sum((n for user, n in during.of_user.items() if user not in hit), Counter())
        assert 503 not in others
        assert {503} == {status for user in hit for status in during.of_user.get(user, {503: 1})}
        assert lost(connection, before) == lost(connection, during) == lost(connection, after) == 0


@contextmanager
def hanging(worker: Cluster) -> Iterator[None]:
    """Stop all processes of a worker until the end of the block. The kernel still accepts connections."""
    assert worker.process
    parent = worker.process.pid
    os.kill(parent, signal.SIGSTOP)  # first, so that it starts no further process
    stats = [stat.read_text().rpartition(") ") for stat in Path("/proc").glob("[0-9]*/stat")]
    children = [int(head.split()[0]) for head, _, tail in stats if tail.split()[1] == str(parent)]
    try:
        for child in children:
            os.kill(child, signal.SIGSTOP)
        yield
    finally:
        for process in (*children, parent):
            os.kill(process, signal.SIGCONT)


def test_users_of_a_worker_that_hangs_leave_connections_to_those_of_others(server: Citus, clone: str) -> None:
    """Two requests of each are sent, which are more than there are connections."""
    users = [f"user-{number}" for number in range(40)]

    async def ask(api: Api, *asking: str, method: str = "GET") -> list[int | str]:
        clients = [Client(port_of(api), user, api.token(user)) for user in asking]
        answers = await asyncio.gather(*(client.ask(method, "", {"title": "x"}) for client in clients))
        for client in clients:
            client.close()
        return [a.status if a.status < 500 else json.loads(a.body)["detail"] for a in answers]

    async def work(api: Api, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        for user in users:
            assert await ask(api, user, method="POST") == [201]
        worker = server.workers[0]
        hit = placed(connection, worker.port)
        others = sorted({*users} - {*hit})
        assert len(hit) > 10
        with hanging(worker):
            asked = asyncio.create_task(ask(api, *hit, *hit))
            for user in others * 2:
                assert await ask(api, user) == [200]
            assert not asked.done()
            assert {*await asked} <= {SLOW, LOST}  # not BUSY

    with (
        serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="10") as api,
        server.connect(clone) as connection,
    ):
        asyncio.run(work(api, connection))


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
def test_through_a_pooler_app_user_id_is_set_for_one_transaction_on_all_nodes(
    server: Citus, clone: str
) -> None:
    with pgbouncer(server.coordinator, database=clone) as port:
        pooler = server.coordinator.conninfo(clone, "tasks_api", port)
        with serving(pooler, POOL_SIZE="20", PREPARED_STATEMENTS="false") as api:
            seen, looks, left = cross_while_looking(
                api, pooler, users=50, requests=2000, clients=30, aborting=0.05
            )
    print(f"\nthrough PgBouncer on 2 connections, {looks} inspections, {left} found a user: {seen}")
    assert looks
    assert (seen.foreign, left, seen.unsound) == (0, 0, [])


@contextmanager
def moving(connection: psycopg.Connection[tuple[object, ...]], ports: list[int]) -> Iterator[list[int]]:
    """Move shards from worker to worker, one after the other, until the end of the block; yield their ids."""
    stop = threading.Event()
    moved: list[int] = []

    def keep() -> None:
        while not stop.is_set():
            ((shard, there),) = connection.execute(ANY_SHARD).fetchall()
            other = next(port for port in ports if port != there)
            connection.execute(MOVE, (shard, there, other))
            moved.append(int(str(shard)))
            stop.wait(1)

    with ThreadPoolExecutor() as pool:
        future = pool.submit(keep)
        try:
            yield moved
        finally:
            stop.set()
            future.result()


def test_two_hundred_users_on_few_connections_never_meet_while_shards_move(server: Citus, clone: str) -> None:
    ports = [worker.port for worker in server.workers]
    with (
        serving(server.conninfo(clone, "tasks_api"), POOL_SIZE="4") as api,
        server.connect(clone) as connection,
    ):
        with moving(connection, ports) as moved:
            seen = asyncio.run(
                cross(port_of(api), tokens_of(api, 200), requests=REQUESTS, clients=24, aborting=0.02)
            )
        strays = connection.execute(STRAYS).rowcount
        gone = lost(connection, seen)
    print(f"\ncrossed while {len(moved)} times a shard of three tables moved: {seen}")
    assert (seen.foreign, strays, gone, seen.unsound) == (0, 0, 0, [])
    assert moved
