"""Isolation under fire: many users, few connections, everything goes wrong, and nobody sees another's row."""

import asyncio
import json
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from conftest import Api, deployed
from support.crossing import left_behind
from support.faults import PGBOUNCER, Cluster, cluster, pgbouncer
from support.load import QUICK, Client, Report, Response, port_of

REQUESTS = 8_000 if QUICK else 204_000
USERS = 200
PROCESSES = 2
TERMINATE_ONE = (
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tasks_api' "
    "order by random() limit 1"
)
STRAYS = "select count(*) from app.tasks where not starts_with(title, user_id || ':')"


def run(report: Report) -> None:
    with cluster("18") as postgres:
        postgres.start(fsync="off", synchronous_commit="off")
        postgres.migrated()
        few = {"POOL_SIZE": "4", "WEB_CONCURRENCY": "2", "LOG_USERS": "id"}
        with deployed(postgres.conninfo("tasks", "tasks_api"), **few) as api:
            fire(report, postgres, api)
        if not PGBOUNCER:
            report.expect(False, "PgBouncer is not installed: apt-get install pgbouncer")
            return
        many = {"POOL_SIZE": "250", "WEB_CONCURRENCY": "2", "PREPARED_STATEMENTS": "false"}
        with (
            pgbouncer(postgres) as port,
            deployed(postgres.conninfo("tasks", "tasks_api", port), **many) as api,
        ):
            fire(report, postgres, api, port)
        modes(report, postgres)


def modes(report: Report, postgres: Cluster) -> None:
    """Show what the start says to other modes, and to prepared statements this PgBouncer does not keep."""
    for mode, prepared in (("statement", "false"), ("session", "true"), ("transaction", "true")):
        with pgbouncer(postgres, mode) as port:
            try:
                with deployed(
                    postgres.conninfo("tasks", "tasks_api", port), PREPARED_STATEMENTS=prepared
                ) as api:
                    answers = asyncio.run(few(api))
                seen = f"starts; 40 concurrent requests: {dict(answers)}"
                report.expect(mode == "session", f"PgBouncer in {mode} mode, prepared {prepared}: refused")
            except AssertionError as refused:
                why = next(line for line in str(refused).splitlines() if " ERROR " in line)
                seen = f"refuses to start: {why.partition(' ERROR ')[2]}"
        report.say(f"PgBouncer, {mode} mode, prepared: {prepared}", seen)


async def few(api: Api) -> Counter[int]:
    clients = [Client(port_of(api), "few", api.token("few")) for _ in range(40)]
    answers = await asyncio.gather(*(client.ask("POST", "", {"title": "few: one"}) for client in clients))
    return Counter(answer.status for answer in answers)


def fire(report: Report, postgres: Cluster, api: Api, pooler: int = 0) -> None:
    name = "PgBouncer: 500 clients, 2 connections" if pooler else "directly, 2 x 4 connections"
    connections = 500 if pooler else 64
    tokens = {f"user-{number}": api.token(f"user-{number}") for number in range(USERS)}
    share = REQUESTS // 2 // PROCESSES
    began = time.monotonic()
    statuses: Counter[str] = Counter()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        jobs = [
            pool.submit(shoot, port_of(api), tokens, share, connections // PROCESSES)
            for _ in range(PROCESSES)
        ]
        kills = probes = identities = 0
        with postgres.connect("tasks") as owner:
            while not all(job.done() for job in jobs):
                kills += len(owner.execute(TERMINATE_ONE).fetchall())
                for _ in range(20 if pooler else 0):
                    probes += 1
                    identities += left_behind(postgres.conninfo("tasks", "tasks_api", pooler))
                time.sleep(0.3)
            for job in jobs:
                statuses += job.result()
            ((strays,),) = owner.execute(STRAYS).fetchall()
    crossed = statuses.pop("crossed", 0) + int(str(strays))
    wrong = {key: number for key, number in statuses.items() if key.startswith("wrong")}
    report.total["requests"] += statuses["requests"]
    report.total["crossed rows"] += crossed + identities
    report.total["500s"] += statuses["500"]
    report.expect(not wrong, f"isolation, {name}: {wrong}")
    took = time.monotonic() - began
    seen = ", ".join(
        f"{statuses[key]:,} x {key}" for key in sorted(statuses) if key.isdigit() and statuses[key]
    )
    report.say(
        f"{name}",
        f"{statuses['requests']:,} requests ({statuses['requests'] / took:.0f}/s), "
        f"{statuses['rows']:,} rows seen, "
        f"crossed {crossed}; {kills} connections killed, {statuses['broken off']:,} requests broken off; "
        f"{probes} looks at the pooler's connections, {identities} identities left; {seen}",
    )


def shoot(port: int, tokens: dict[str, str], requests: int, connections: int) -> Counter[str]:
    """Send this process's share of the requests."""
    return asyncio.run(volley(port, tokens, requests, connections))


async def volley(port: int, tokens: dict[str, str], requests: int, connections: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    left = iter(range(requests))

    async def keeper(client: Client) -> None:
        for _ in left:
            user = random.choice(users)
            client.base, client.token = f"/api/{user}/tasks", tokens[user]
            await shot(client, user, seen)

    users = list(tokens)
    await asyncio.gather(*(keeper(Client(port)) for _ in range(connections)))
    return seen


async def shot(client: Client, user: str, seen: Counter[str]) -> None:
    method, path, value = choose(user)
    seen["requests"] += 1
    try:
        if random.random() < 0.01:  # sent, and gone before the answer
            seen["broken off"] += 1
            async with asyncio.timeout(random.random() * 0.05):
                answer = await client.ask(method, path, value)
        else:
            answer = await client.ask(method, path, value)
    except TimeoutError:
        return
    except OSError as error:
        seen[f"wrong {type(error).__name__} {error}"] += 1
        await asyncio.sleep(0.1)
        return
    seen[str(answer.status)] += 1
    if not answer.sound:
        seen[f"wrong {answer.status} {answer.body[:100]!r}"] += 1
    judge(answer, user, seen)


def choose(user: str) -> tuple[str, str, object]:  # noqa: PLR0911 - a table
    """Choose what to ask; a small number is an id that many users have."""
    number, chance = random.randint(1, 40), random.random()
    task = {"title": f"{user}: {number}"}
    if chance < 0.4:
        return "GET", f"?limit={random.randint(1, 30)}", None
    if chance < 0.6:
        return "GET", f"/{number}", None
    if chance < 0.75:
        return "POST", "", task
    if chance < 0.85:
        return "PATCH", f"/{number}/complete", None
    if chance < 0.9:
        return "PUT", f"/{number}", task
    if chance < 0.93:
        return "DELETE", f"/{number}", None
    if chance < 0.96:
        return "POST", "", {"title": " "}
    if chance < 0.98:
        return "GET", "?search=user-&status=pending&sort=updated", None
    return "GET", "?cursor=bad", None


def judge(answer: Response, user: str, seen: Counter[str]) -> None:
    if answer.status not in (200, 201):
        return
    value = json.loads(answer.body)
    for task in value if isinstance(value, list) else [value]:
        seen["rows"] += 1
        seen["crossed"] += task["user_id"] != user or not task["title"].startswith(f"{user}:")
