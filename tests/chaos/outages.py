"""Outages of the database under load. Writers record which writes were acknowledged; none may be lost."""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
from conftest import Api, deployed
from support.faults import Cluster, Network, cluster, network
from support.load import QUICK, Client, Report, Response, port_of

WRITERS = 8
TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tasks_api'"
BOUND = 13  # seconds for a response: the queue, connecting, and the time limit of a statement


class Writer:
    """A user who creates, changes and deletes tasks, and records the expected state."""

    def __init__(self, api: Api, number: int, report: Report) -> None:
        self.user = f"writer-{number}"
        self.client = Client(port_of(api), self.user, api.token(self.user))
        self.report = report
        self.tasks: dict[
            int, set[str | None]
        ] = {}  # the possible titles of each task; None if it may be deleted
        self.unknown: set[str] = set()  # creates of unknown outcome
        self.kept_at = 0.0  # when the last write was acknowledged
        self.seen: list[Response] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            chance = random.random()
            if chance < 0.6 or not self.tasks:
                await self.create(keyed=chance < 0.2)
            elif chance < 0.9:
                await self.change(random.choice(list(self.tasks)))
            else:
                await self.delete(random.choice(list(self.tasks)))

    async def ask(self, method: str, path: str = "", value: object = None, **headers: str) -> Response:
        answer = await self.client.ask(method, path, value, **headers)
        self.seen.append(answer)
        self.report.count(answer, "outages")
        if answer.status < 300:
            self.kept_at = time.monotonic()
            self.report.total["acknowledged writes"] += 1
        else:
            await asyncio.sleep(0.05)
        return answer

    async def create(self, *, keyed: bool) -> None:
        text = uuid4().hex
        task = {"title": text, "description": text}
        answer = await self.ask("POST", "", task, **({"Idempotency_Key": text} if keyed else {}))
        while keyed and answer.status == 503:
            answer = await self.ask("POST", "", task, Idempotency_Key=text)
        if answer.status == 201:
            self.tasks[int(answer.headers["location"].rpartition("/")[2])] = {text}
        else:
            self.unknown.add(text)

    async def change(self, number: int) -> None:
        text = uuid4().hex
        answer = await self.ask("PUT", f"/{number}", {"title": text, "description": text})
        if answer.status == 200:
            self.tasks[number] = {text}
        elif answer.status == 503:
            self.tasks[number].add(text)
        else:
            self.report.expect(
                answer.status == 404 and None in self.tasks[number], f"change: {answer.status}"
            )

    async def delete(self, number: int) -> None:
        answer = await self.ask("DELETE", f"/{number}")
        if answer.status == 204:
            del self.tasks[number]
        elif answer.status == 503:
            self.tasks[number].add(None)
        else:
            self.report.expect(
                answer.status == 404 and None in self.tasks[number], f"delete: {answer.status}"
            )

    def check(self, there: dict[int, tuple[str, str]]) -> None:
        """Compare the expected state with the rows of the database: (title, description) by id."""
        total = self.report.total
        for number, possible in self.tasks.items():
            title = there.pop(number)[0] if number in there else None
            total["lost"] += title not in possible
        for title, _ in there.values():  # creates whose outcome is unknown
            self.report.expect(title in self.unknown, f"{self.user} has the task {title}, which was not sent")


class Probe:
    """Requests /health and /ready repeatedly, and counts failures."""

    def __init__(self, api: Api) -> None:
        self.api, self.ill, self.unready = api, 0, 0

    async def run(self, stop: asyncio.Event) -> None:
        client = Client(port_of(self.api))
        while not stop.is_set():
            health = await client.send(client.head("GET", "/health", 0))
            self.ill += health.status != 200 or health.seconds > 1
            ready = await client.send(client.head("GET", "/ready", 0))
            self.unready += ready.status == 503
            await asyncio.sleep(0.1)


class Faults:
    """Each method causes a fault, and returns when it is over. Its docstring is its name in the report."""

    def __init__(self, postgres: Cluster, between: Network, folder: Path | None) -> None:
        self.postgres, self.between, self.folder = postgres, between, folder
        self.pause = 1.0 if QUICK else 2.5

    def sql(self, *statements: str) -> None:
        with self.postgres.connect() as owner:
            for statement in statements:
                owner.execute(statement)

    async def restart(self, how: signal.Signals) -> None:
        await asyncio.to_thread(self.postgres.end, how)
        await asyncio.sleep(self.pause / 2)
        await asyncio.to_thread(self.postgres.start, max_connections=40)

    async def killed(self) -> None:
        """SIGKILL of the server, restart"""
        await self.restart(signal.SIGKILL)

    async def immediate(self) -> None:
        """Immediate shutdown, restart"""
        await self.restart(signal.SIGQUIT)

    async def fast(self) -> None:
        """Fast shutdown, restart"""
        await self.restart(signal.SIGINT)

    async def terminated(self) -> None:
        """pg_terminate_backend for all connections, 20 times"""
        for _ in range(20):
            self.sql(TERMINATE)
            await asyncio.sleep(self.pause / 20)

    async def refusing(self) -> None:
        """The database refuses connections"""
        self.sql("alter database tasks connection limit 0", TERMINATE)
        await asyncio.sleep(self.pause)
        self.sql("alter database tasks connection limit -1")

    async def read_only(self) -> None:
        """Read-only"""
        self.sql("alter system set default_transaction_read_only = on", "select pg_reload_conf()")
        await asyncio.sleep(self.pause)
        self.sql(
            "set transaction_read_only = off",
            "alter system reset default_transaction_read_only",
            "select pg_reload_conf()",
        )

    async def crowded(self) -> None:
        """Out of connections"""
        others = []
        with self.postgres.connect() as owner, contextlib.suppress(psycopg.OperationalError):
            owner.execute(TERMINATE)
            while True:
                address = self.postgres.conninfo("tasks", "crowd")
                others.append(psycopg.connect(address))
                owner.execute(TERMINATE)
        await asyncio.sleep(self.pause)
        for other in others:
            other.close()

    async def full(self) -> None:
        """No space left for the WAL"""
        assert self.folder
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        await asyncio.sleep(self.pause * 2)
        filler.unlink()
        await asyncio.to_thread(self.postgres.end, signal.SIGQUIT)
        await asyncio.to_thread(self.postgres.start, max_connections=40)

    async def hanging(self) -> None:
        """The network hangs for 12 s"""
        self.between.hanging = True
        await asyncio.sleep(4 if QUICK else 12)
        self.between.hanging = False

    async def dropping(self) -> None:
        """The network drops connections, 20 times"""
        for _ in range(20):
            self.between.drop()
            await asyncio.sleep(self.pause / 20)

    async def delaying(self) -> None:
        """Every piece takes 100 ms"""
        self.between.delay = 0.1
        await asyncio.sleep(self.pause)
        self.between.delay = 0.0

    async def password(self) -> None:
        """The role's password was changed"""
        verifier = "select rolpassword from pg_authid where rolname = 'tasks_api'"
        with self.postgres.connect() as owner:
            ((old,),) = owner.execute(verifier).fetchall()
        self.sql(f"alter role tasks_api password '{secrets.token_hex(16)}'", TERMINATE)
        await asyncio.sleep(self.pause)
        self.sql(f"alter role tasks_api password '{old}'")

    def all(self) -> list[Callable[[], Awaitable[None]]]:
        last = [self.full] if self.folder else []
        first = [self.killed, self.terminated, self.immediate, self.fast, self.refusing, self.read_only]
        return [*first, self.crowded, self.hanging, self.dropping, self.delaying, self.password, *last]


@contextlib.contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a small file system that a fault can fill; yield None without the privilege to mount."""
    folder = Path(tempfile.mkdtemp(prefix="disk"))
    command = ["mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "none", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def run(report: Report) -> None:
    password = secrets.token_hex(16)
    with small_disk() as disk, cluster("18", disk) as postgres:
        postgres.start(max_connections=40)
        postgres.migrated()
        with postgres.connect() as owner:
            owner.execute(f"alter role tasks_api password '{password}'")
            owner.execute("create role crowd login")
        rules = "local all all trust\nhost all tasks_api all scram-sha-256\nhost all all all trust\n"
        (postgres.data / "pg_hba.conf").write_text(rules)
        with postgres.connect() as owner:
            owner.execute("select pg_reload_conf()")
        with network(postgres.port) as between:
            address = postgres.conninfo("tasks", "tasks_api", between.port) + f" password={password}"
            with deployed(address, POOL_SIZE="6", LOG_FORMAT="json") as api:
                asyncio.run(storm(report, Faults(postgres, between, disk), api))
                log = api.log.read_text()
        report.expect(password not in log, "no password in the log")
        report.expect('"exception"' not in log, "no defect in the log")
        if not disk:
            report.say("no space left for the WAL", "not tried: no disk could be mounted")
        check(report, postgres)


async def storm(report: Report, faults: Faults, api: Api) -> None:
    stop = asyncio.Event()
    writers = [Writer(api, number, report) for number in range(WRITERS)]
    probe = Probe(api)
    running = [asyncio.create_task(each.run(stop)) for each in writers]
    running.append(asyncio.create_task(probe.run(stop)))
    await asyncio.sleep(1)
    for fault in faults.all():
        for writer in writers:
            writer.seen.clear()
        probe.unready = 0
        await fault()
        back = time.monotonic()
        while min(w.kept_at for w in writers) < back and time.monotonic() < back + 30:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        outage = time.monotonic() - back
        report.expect(outage < 10, f"recovery after {fault.__doc__}")
        seen = [answer for writer in writers for answer in writer.seen]
        slowest = max((answer.seconds for answer in seen), default=0.0)
        report.expect(slowest < BOUND, f"a response in time during {fault.__doc__}: {slowest:.1f} s")
        report.longest = max(report.longest, outage)
        kept = sum(answer.status < 300 for answer in seen)
        failed = sum(answer.status == 503 for answer in seen)
        report.say(
            str(fault.__doc__),
            f"{kept:5} acknowledged, {failed:4} x 503 (slowest response {slowest:5.2f} s), "
            f"unready {probe.unready} times, back after {outage:.2f} s",
        )
        await asyncio.sleep(0.5)
    report.expect(not probe.ill, f"/health failed {probe.ill} times")
    stop.set()
    await asyncio.gather(*running)
    FINAL.extend(writers)


FINAL: list[Writer] = []


def check(report: Report, postgres: Cluster) -> None:
    """Compare the acknowledged writes with the rows of the database."""
    with postgres.connect("tasks") as owner:
        rows = owner.execute("select user_id, id, title, description from app.tasks").fetchall()
        halves = owner.execute(
            "select count(*) from app.idempotency_keys as k left join app.users as u on u.id = k.user_id "
            "where u.last_task_id is null or u.last_task_id < (k.task->>'id')::bigint"
        ).fetchall()
    there: dict[str, dict[int, tuple[str, str]]] = {}
    for user, number, title, description in rows:
        there.setdefault(str(user), {})[int(str(number))] = (str(title), str(description))
        report.total["half there"] += title != description
    report.total["half there"] += int(str(halves[0][0]))
    for writer in FINAL:
        writer.check(there.get(writer.user, {}))
