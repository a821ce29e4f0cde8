"""Deploys under load: rolling restarts, concurrent and killed migrations, and code of another version."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psycopg
from conftest import ROOT, Api, deployed, free_port
from support.faults import Cluster, cluster
from support.load import QUICK, Client, Report, Response, port_of

from app.postgres.safety import SCHEMA_VERSION

NAME = f"{SCHEMA_VERSION + 1:04}.notes"
ADD = f"""-- Notes: a column that the running code does not know.
set local lock_timeout = '1s';
alter table app.tasks add column note text;
create or replace function app.schema_version() returns integer
language sql immutable parallel safe return {SCHEMA_VERSION + 1};
"""
REMOVE = f"""set local lock_timeout = '1s';
alter table app.tasks drop column note;
create or replace function app.schema_version() returns integer
language sql immutable parallel safe return {SCHEMA_VERSION};
"""
SLOW = ADD.replace("alter table", "select pg_sleep(3);\nalter table")


class Checkout:
    """A copy of the project with an additional migration."""

    def __init__(self, folder: Path, postgres: Cluster, migration: str) -> None:
        for name in ("app", "sql"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / f"sql/migrations/{NAME}.sql").write_text(migration)
        (folder / f"sql/migrations/{NAME}.rollback.sql").write_text(REMOVE)
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "MIGRATION_DATABASE_URL": postgres.conninfo("tasks"),
        }

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "app", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def do(self, command: str) -> tuple[int, str]:
        process = self.start(command)
        text, _ = process.communicate(timeout=90)
        return process.returncode, text.strip()


def run(report: Report) -> None:
    interrupted(report)
    with cluster("18") as postgres, tempfile.TemporaryDirectory() as folder:
        postgres.start(fsync="off")
        postgres.migrated()
        address = postgres.conninfo("tasks", "tasks_api")
        asyncio.run(rolling(report, address))
        slow = Checkout(Path(folder) / "slow", postgres, SLOW)
        quick = Checkout(Path(folder) / "quick", postgres, ADD)
        with deployed(address, POOL_SIZE="4") as api:
            asyncio.run(migrating(report, postgres, api, slow, quick))
        versions(report, postgres, quick)


def interrupted(report: Report) -> None:
    """End first runs of `make run` at random times; the next run must serve and stop cleanly."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("app", "sql", "tests"):
            shutil.copytree(ROOT / name, f"{folder}/{name}")
        ends = Counter[str]()
        for number in range(6 if QUICK else 30):
            shutil.rmtree(f"{folder}/.postgres", ignore_errors=True)
            for kind in random.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), k=2):
                first = first_run(folder)
                time.sleep(random.uniform(0.5, 3))
                first.send_signal(kind)
                text, _ = first.communicate(timeout=60)
                ends[kind.name] += 1
                report.expect("Traceback" not in text, f"{number}: a traceback after {kind.name}")
            last = first_run(folder)
            said = read_up_to(last, "/api/alice/tasks")
            report.expect("/api/alice/tasks" in said, f"{number}: {said[-300:]}")
            last.send_signal(signal.SIGINT)
            last.communicate(timeout=60)
            report.expect(not Path(folder, ".postgres/data/postmaster.pid").exists(), "PostgreSQL still runs")
        report.say("first runs ended at random times", f"{dict(ends)}; each next run served and stopped")


def first_run(folder: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "embedded", "run"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PORT": str(free_port()), "PYTHONPATH": f"{folder}/tests:{folder}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_up_to(process: subprocess.Popen[str], end: str) -> str:
    said = ""
    while process.stdout and end not in said and (line := process.stdout.readline()):
        said += line
    return said


async def rolling(report: Report, address: str) -> None:
    """Restart two processes in turn. If one of them refuses a connection, clients try the other."""
    port, other = free_port(), free_port()
    with ExitStack() as stack:
        started = {p: start(stack, address, p) for p in (port, other)}
        stop, seen, tries = asyncio.Event(), Counter[str](), Counter[str]()
        jobs = [asyncio.create_task(customer(started, stop, seen, tries, n)) for n in range(16)]
        for p in (port, other, port, other)[: 2 if QUICK else 4]:
            await asyncio.sleep(0.7)
            old = started[p]
            old.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(old.process.wait, 20)
            report.expect(status == 0, f"exit status {status} after SIGTERM")
            started[p] = await asyncio.to_thread(start, stack, address, p, old.secret)
        await asyncio.sleep(0.7)
        stop.set()
        await asyncio.gather(*jobs)
        with psycopg.connect(address.replace("tasks_api", "postgres")) as owner:
            row = owner.execute("select count(*) from app.tasks").fetchone()
        there = int(row[0]) if row else 0
    report.total["lost"] += max(seen["201"] - there, 0)
    report.total["acknowledged writes"] += seen["201"]
    failed = {key: n for key, n in seen.items() if key != "201"}
    report.expect(not failed, f"rolling restart: {failed}")
    report.expect(there == seen["201"], f"rolling restart: {there} of {seen['201']} tasks")
    report.say(
        "rolling restart of two processes under load",
        f"{seen['201']} creates, {there} there, failed {sum(failed.values())}; "
        f"tried again {dict(tries)}; exit 0",
    )


def start(stack: ExitStack, address: str, port: int, secret: str = "x" * 40) -> Api:
    return stack.enter_context(deployed(address, PORT=str(port), JWT_SECRET=secret, POOL_SIZE="4"))


async def customer(
    started: dict[int, Api], stop: asyncio.Event, seen: Counter[str], tries: Counter[str], number: int
) -> None:
    """Create tasks with keys. If a connection is refused or breaks, retry on the other process."""
    user, ports, count = f"customer-{number}", list(started), 0
    token = started[ports[0]].token(user)
    clients = [Client(port, user, token) for port in ports]
    while not stop.is_set():
        count += 1
        for attempt in range(20):
            client = clients[(number + attempt) % 2]
            try:
                answer = await client.ask("POST", "", {"title": "rolling"}, Idempotency_Key=f"{count}")
            except ConnectionRefusedError:
                tries["refused"] += 1
            except OSError:
                tries["reset"] += 1
            else:
                seen[str(answer.status)] += 1
                break
            await asyncio.sleep(0.02)
        else:
            seen["gave up"] += 1


async def migrating(report: Report, postgres: Cluster, api: Api, slow: Checkout, quick: Checkout) -> None:
    stop, answers = asyncio.Event(), list[Response]()
    jobs = [asyncio.create_task(traffic(api, stop, answers, number)) for number in range(8)]

    async def during(name: str, *commands: tuple[Checkout, str]) -> None:
        answers.clear()
        results = await asyncio.gather(*(asyncio.to_thread(c.do, command) for c, command in commands))
        for answer in answers:
            report.count(answer, name)
        slowest = max((a.seconds for a in answers), default=0)
        kinds = dict(Counter(a.status for a in answers))
        ends = [f"{status}: {text.splitlines()[-1][:60]}" for status, text in results]
        report.expect(slowest < 5, f"{name}: a response took {slowest:.1f} s")
        report.say(name, f"{'; '.join(ends)}; responses {kinds}, slowest {slowest:.2f} s")

    await during("make migrate under load", (quick, "migrate"))
    await during("rollback under load", (quick, "rollback"))
    await during("two deploys at once", (quick, "migrate"), (quick, "migrate"))
    await during("rollback under load, again", (quick, "rollback"))
    with psycopg.connect(postgres.conninfo("tasks")) as reader:
        reader.execute("select count(*) from app.tasks")
        await during("migrate while another session locks the table", (quick, "migrate"))
    process = slow.start("migrate")
    await asyncio.sleep(2)
    process.kill()
    await asyncio.to_thread(process.communicate)
    await during("a deploy after a killed one", (quick, "migrate"))
    with postgres.connect("tasks") as owner:
        ((version,),) = owner.execute("select app.schema_version()").fetchall()
        report.expect(version == SCHEMA_VERSION + 1, f"schema version {version} after the deploys")
    await during("old code on a newer schema: rollback again", (quick, "rollback"))
    stop.set()
    await asyncio.gather(*jobs)


async def traffic(api: Api, stop: asyncio.Event, answers: list[Response], number: int) -> None:
    user = f"traffic-{number}"
    client = Client(port_of(api), user, api.token(user))
    while not stop.is_set():
        answers.append(await client.ask("POST", "", {"title": "x"}))
        answers.append(await client.ask("GET", "?limit=5"))


def versions(report: Report, postgres: Cluster, checkout: Checkout) -> None:
    """Run this code on the schema before its newest migration."""
    address = postgres.conninfo("tasks", "tasks_api")
    with deployed(address) as api:
        status, text = checkout.do("rollback")  # the newest migration, which this code needs
        seen = asyncio.run(on_old_schema(report, api))
        report.say("the schema falls behind running code", f"{text.splitlines()[-1]}; {seen}")
    try:
        with deployed(address):
            report.expect(False, "new code started on an old schema")
    except AssertionError as refused:
        line = next(line for line in str(refused).splitlines() if "ERROR" in line)
        report.say("new code starts on an old schema", f"refused: {line[30:120]}")
    del status
    (checkout.folder / f"sql/migrations/{NAME}.sql").unlink()
    status, _ = checkout.do("migrate")
    began = time.monotonic()
    with deployed(address) as api:
        ready = asyncio.run(Client(port_of(api)).send(Client(0).head("GET", "/ready", 0))).status
        report.expect((status, ready) == (0, 200), "ready after the next migrate")
        report.say("and after make migrate", f"ready {ready} after {time.monotonic() - began:.1f} s")


async def on_old_schema(report: Report, api: Api) -> dict[str, int]:
    client = Client(port_of(api), "old", api.token("old"))
    seen = {
        "ready": await client.send(client.head("GET", "/ready", 0)),
        "list": await client.ask("GET"),
        "create": await client.ask("POST", "", {"title": "x"}),
        "create with a key": await client.ask("POST", "", {"title": "x"}, Idempotency_Key="k"),
    }
    for name, answer in seen.items():
        report.count(answer, name)
    report.expect(seen["ready"].status == 503, "unready on an old schema")
    return {name: answer.status for name, answer in seen.items()}
