"""Isolation under faults: many users share few connections, which are ended at random."""

import asyncio
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from conftest import Api, deployed
from support.crossing import Request, Seen, cross, left_behind, tokens_of
from support.faults import PGBOUNCER, Cluster, cluster, pgbouncer
from support.load import QUICK, Client, Report, port_of

REQUESTS = 8_000 if QUICK else 204_000
USERS = 200
PROCESSES = 2
TERMINATE_ONE = (
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tasks_api' "
    "order by random() limit 1"
)
STRAYS = "select from app.tasks where not starts_with(title, user_id || ':')"


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
    """Report how the API starts in other modes, and with statements that PgBouncer does not track."""
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
    """Send requests of all users, and end connections to the database meanwhile."""
    name = "PgBouncer: 500 clients, 2 connections" if pooler else "directly, 2 x 4 connections"
    clients = (500 if pooler else 64) // PROCESSES
    tokens, began = tokens_of(api, USERS), time.monotonic()
    kills = probes = identities = 0
    with (
        ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool,
        postgres.connect("tasks") as owner,
    ):
        jobs = [pool.submit(run_share, port_of(api), tokens, clients) for _ in range(PROCESSES)]
        while not all(job.done() for job in jobs):
            kills += len(owner.execute(TERMINATE_ONE).fetchall())
            for _ in range(20 if pooler else 0):
                probes += 1
                identities += left_behind(postgres.conninfo("tasks", "tasks_api", pooler))
            time.sleep(0.3)
        seen = [job.result() for job in jobs]
        strays = owner.execute(STRAYS).rowcount
    statuses = sum((each.statuses for each in seen), Counter[int]())
    broken_off = sum(each.broken_off for each in seen)
    crossed = sum(each.foreign for each in seen) + strays
    requests = statuses.total() + broken_off
    report.total["requests"] += requests
    report.total["crossed rows"] += crossed + identities
    report.total["500s"] += statuses[500]
    unsound = [body for each in seen for body in each.unsound]
    report.expect(not unsound, f"isolation, {name}: {unsound[:5]}")
    report.say(
        name,
        f"{requests:,} requests ({requests / (time.monotonic() - began):.0f}/s), "
        f"{sum(each.rows for each in seen):,} rows seen, crossed {crossed}; {kills} connections killed, "
        f"{broken_off:,} requests broken off; {probes} inspections of the pooler's connections, "
        f"{identities} found a user left behind; {dict(sorted(statuses.items()))}",
    )


def run_share(port: int, tokens: dict[str, str], clients: int) -> Seen:
    """Send the requests of one process. A hundredth of them is cancelled."""
    requests = REQUESTS // 2 // PROCESSES
    crossing = cross(port, tokens, requests=requests, clients=clients, aborting=0.01, choose=choose)
    return asyncio.run(crossing)


def choose(user: str) -> Request:  # noqa: PLR0911 - a table
    """Return a random request. Many users have tasks with these ids; each title begins with its user."""
    number, chance = random.randint(1, 40), random.random()
    task = {"title": f"{user}: {number}"}
    if chance < 0.4:
        return "GET", f"?limit={random.randint(1, 30)}", None, {}
    if chance < 0.6:
        return "GET", f"/{number}", None, {}
    if chance < 0.75:
        return "POST", "", task, {}
    if chance < 0.85:
        return "PATCH", f"/{number}/complete", None, {}
    if chance < 0.9:
        return "PUT", f"/{number}", task, {}
    if chance < 0.93:
        return "DELETE", f"/{number}", None, {}
    if chance < 0.96:
        return "POST", "", {"title": " "}, {}
    if chance < 0.98:
        return "GET", "?search=user-&status=pending&sort=updated", None, {}
    return "GET", "?cursor=bad", None, {}
