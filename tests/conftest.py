"""Fixtures: PostgreSQL servers with the migrations and the role tasks_api, running APIs, and their users."""

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from embedded.programs import account, find_programs, give
from psycopg.conninfo import make_conninfo
from pytest_postgresql.janitor import DatabaseJanitor
from support.forked import Forked, preload, serve
from xdist.scheduler import LoadScopeScheduling
from yoyo import read_migrations
from yoyo.migrations import MigrationList

from app.commands import migrations

ROOT = Path(__file__).parent.parent
CLUSTER = bool(os.environ.get("CLUSTER"))  # make cluster
MAJORS = Path(__file__).parent / "majors" / "node_modules"
BINARIES = {
    "18": find_programs(),
    "15": Path("/usr/lib/postgresql/15/bin"),
    "16": MAJORS / "postgres-16" / "native" / "bin",
    "17": MAJORS / "postgres-17" / "native" / "bin",
}
LOCALE = {"18": ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]}
ELSEWHERE = ["--locale=C.UTF-8"]
# `make test` also runs these files and tests on 15. `make majors` runs all tests that depend on the version
# on 15, 16 and 17.
SMOKE = {
    "test_policies",
    "test_catalog",
    "test_names",
    "test_isolation",
    "test_prove_finds_nothing_broken_after_the_migrations",
}
OTHER_MAJOR = re.compile(r"(?<=[\[-])1[567](?=[\]-])")  # in the id of a test
Database = psycopg.Connection[tuple[object, ...]]

# Temporary files are in memory if /dev/shm is large enough, which it seldom is in containers. Creating a
# database takes a quarter of the time there.
MEMORY, ENOUGH = Path("/dev/shm"), 4 * 2**30  # bytes
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
    room = os.statvfs(MEMORY)
    if room.f_bavail * room.f_frsize > ENOUGH and not room.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = str(MEMORY)

if len(tempfile.gettempdir()) > 60:  # characters, as on macOS; the path of a socket has at most 107
    tempfile.tempdir = "/tmp"

# The environment variables that tests see: paths of programs, and options of the test run.
OURS = {"CLUSTER", "EXPLICIT", "MAJORS", "PG_CONFIG", "REQUESTS", "WRITE_SCHEMA"}
VISIBLE = {"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CI"} | OURS

# The function act_as in citus.sql, with its grants.
ACT_AS = re.compile(r"create or replace function app[.]act_as.*?to tasks_api;", re.DOTALL)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that listens on a Unix socket in `host` and needs no passwords."""

    version: str
    host: str
    binaries: Path

    def conninfo(self, database: str, user: str = "postgres") -> str:
        return make_conninfo(host=self.host, dbname=database, user=user)

    def connect(self, database: str, user: str = "postgres") -> Database:
        return psycopg.connect(self.conninfo(database, user), autocommit=True)

    @contextmanager
    def database(self, template: str | None = None, *, as_template: bool = False) -> Iterator[str]:
        """Create a database with a random name; drop it at the end."""
        name = f"tasks_{uuid4().hex[:12]}"
        janitor = DatabaseJanitor(
            user="postgres",
            host=self.host,
            port=5432,
            dbname=name,
            template_dbname=template,
            as_template=as_template,
        )
        janitor.init()
        try:
            yield name
        finally:
            janitor.drop()

    @contextmanager
    def template(self) -> Iterator[str]:
        """Create a migrated database for cloning. tasks_api may log in."""
        with self.database(as_template=True) as name:
            migrations.migrate(self.conninfo(name))
            with self.connect(name) as connection:
                connection.execute("alter role tasks_api login")
                if os.environ.get("EXPLICIT"):  # the API then sets the user as it does on Citus
                    connection.execute(re.findall(ACT_AS, (ROOT / "sql/citus.sql").read_text())[0])
            yield name


@contextmanager
def running(version: str, folder: Path) -> Iterator[Server]:
    """Run a PostgreSQL server of this version, not as root."""
    binaries, data, log = BINARIES[version], folder / "data", folder / "log"
    user = account(data, binaries)
    give(str(folder), user)

    def run(program: str, *arguments: str | Path) -> None:
        command = [binaries / program, "-D", data, *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, **user)

    locale = LOCALE.get(version, ELSEWHERE)
    run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", *locale)
    options = f"-k {shlex.quote(str(folder))} -c listen_addresses= -c fsync=off -c autovacuum=off -c jit=off"
    try:
        run("pg_ctl", "start", "-w", "-t", "300", "-l", log, "-o", options)
        yield Server(version, str(folder), binaries)
    except subprocess.CalledProcessError as failed:
        raise AssertionError(f"PostgreSQL {version} does not start: {failed}\n{log.read_text()}") from None
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "stop", "-w", "-m", "immediate")


def pytest_configure(config: pytest.Config) -> None:
    """Remove environment variables that could influence tests, such as those of libpq and of proxies.

    The processes of pytest-xdist start after this and inherit the rest. make e2e installs packages and needs
    all.
    """
    if any("e2e" in argument for argument in config.args):
        return
    for name in os.environ.keys() - VISIBLE:
        if not name.startswith("PYTEST_"):
            del os.environ[name]
    time.tzset()
    # No test uses TLS with httpx. Without this, httpx would load all CA certificates for each client, which
    # takes longer than most tests.
    os.environ["SSL_CERT_DIR"] = os.devnull


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the fixture `server` on PostgreSQL 18, and those in SMOKE also on 15.

    MAJORS in the environment, such as "16 17", overrides this. With CLUSTER in the environment they run on
    Citus.
    """
    parametrized = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "server" in metafunc.fixturenames and "server" not in parametrized:
        smoke = SMOKE & {metafunc.definition.path.stem, metafunc.function.__name__}
        usual = "18 15" if smoke else "18"
        majors = "citus" if CLUSTER else os.environ.get("MAJORS", usual)
        metafunc.parametrize("server", majors.split(), indirect=True, scope="session")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Runs all tests of a file, and all tests of a major version other than 18, in one process.

    So each fixture of a session or a module is made once. (pytest-xdist's own groups need pytest before 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        major = OTHER_MAJOR.search(nodeid)
        return major[0] if major else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


# The files that take longest, in this order. They start first, so that all processes end at about the same
# time.
LONGEST = [
    *("test_audit", "test_operations", "test_nginx", "test_mutations", "test_runbooks", "test_sessions"),
    *("test_faults", "test_commands", "test_memory", "test_migrations", "test_embedded", "test_listing"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what MAJORS does not name. Begin with what takes longest and with other major versions."""
    if majors := os.environ.get("MAJORS"):
        named = {None, *majors.split()}
        items[:] = [item for item in items if _major(item) in named]
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if OTHER_MAJOR.search(item.nodeid):
        return -1
    return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)


def _major(item: pytest.Item) -> object:
    """Return the major version that a test runs on, if it is one of PostgreSQL's."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("server") if callspec else None


# For slow tests that do not depend on the version.
on_18 = pytest.mark.parametrize("server", ["citus" if CLUSTER else "18"], indirect=True)


@pytest.fixture(scope="session", autouse=True)
def application() -> None:
    """Import the application in the background, before a test serves it."""
    preload()


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """Let the commands keep what yoyo has parsed: parsing takes longer than running the migrations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "read_migrations", read_once)
        yield


def read_once(directory: str) -> MigrationList:
    """Read the migrations again only if a file has changed."""
    return _read(directory, tuple((file, file.read_bytes()) for file in sorted(Path(directory).iterdir())))


@cache
def _read(directory: str, _: tuple[tuple[Path, bytes], ...]) -> MigrationList:
    return read_migrations(directory)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A PostgreSQL server; tests are repeated for each major version."""
    if request.param == "citus":
        from support.citus import ABSENT, citus, programs  # noqa: PLC0415 - it imports this module

        if not programs():
            pytest.exit(ABSENT, 1)
        with citus() as cluster:
            yield cluster
        return
    if not BINARIES[request.param].exists():
        pytest.skip(f"PostgreSQL {request.param} is not installed: there is no {BINARIES[request.param]}")
    folder = Path(tempfile.mkdtemp(prefix="tasks"))  # short: the path of a socket has at most 107 bytes
    try:
        with running(request.param, folder) as started:
            yield started
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a migrated database for cloning. tasks_api may log in."""
    with server.template() as name:
        yield name


@pytest.fixture(scope="session")
def database(server: Server, template: str) -> Iterator[str]:
    """The name of a migrated database that tests share. Each test has its own users."""
    with server.database(template) as name:
        yield name


@pytest.fixture
def clone(server: Server, template: str) -> Iterator[str]:
    """The name of a migrated database for one test, which may change it."""
    with server.database(template) as name:
        yield name


@dataclass(frozen=True)
class Api:
    """A running API, and the secret that signs its tokens."""

    url: str
    secret: str
    process: subprocess.Popen[bytes] | Forked
    log: Path

    def token(self, user: object, **claims: object) -> str:
        return jwt.encode({"sub": user, "exp": int(time.time()) + 600} | claims, self.secret, "HS256")

    def log_up_to(self, last: str) -> str:
        """Return the log when it contains this: it is written a moment after the response."""
        until = time.monotonic() + 60
        while last not in (text := self.log.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        return text


@dataclass(frozen=True)
class Breakable:
    """A database that tests may break, and an API on it with POOL_SIZE=1."""

    server: Server
    database: str
    api: Api

    def run(self, *statements: str) -> None:
        with self.server.connect(self.database) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def broken(self, by: str, repaired_by: str) -> Iterator[None]:
        try:
            self.run(by)
            yield
        finally:
            self.run(repaired_by)

    def disconnect(self) -> None:
        """Terminate the API's connections, and wait until they are closed."""
        with self.server.connect("postgres") as connection:
            connection.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
                " where usename = 'tasks_api' and datname = %s",
                (self.database,),
            )

    def reason(self) -> str:
        """Return why the API is not ready."""
        return str(httpx.get(f"{self.api.url}/ready", timeout=60).json().get("detail", ""))

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.api.token('alice')}"} | more.pop("headers", {})
        return httpx.request(method, f"{self.api.url}{path}", headers=headers, timeout=60, **more)


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set environment variables for an application in the test's own process, without a .env."""
    monkeypatch.chdir(tmp_path)

    def configure(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return configure


@pytest.fixture(scope="session")
def breakable(server: Server, template: str) -> Iterator[Breakable]:
    """A shared database that tests may break. Each test repairs it."""
    with (
        server.database(template) as name,
        serving(server.conninfo(name, "tasks_api"), ALWAYS_FRESH, POOL_SIZE="1") as api,
    ):
        yield Breakable(server, name, api)


@dataclass(frozen=True)
class Person:
    """A user with a token, and a client whose base URL is /api/{user}."""

    name: str
    token: str
    client: httpx.Client

    def create(self, title: str = "Buy milk", **members: object) -> dict[str, object]:
        response = self.client.post("/tasks", json={"title": title, **members})
        assert response.status_code == 201, response.text
        task: dict[str, object] = response.json()
        return task


def free_port() -> int:
    """Return a free port of the loopback, reserved until this process ends.

    A socket is bound to the port and does not listen. So the system does not give the port to another process
    that binds to any free port, and connections are refused. A server can still bind to the port by its
    number, because servers set SO_REUSEADDR (socket(7), Linux).
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        if sys.platform == "linux":
            bound.detach()
        return port


ALWAYS_FRESH = -1  # a maximum age for the result of /ready, so that each request checks again


def environment_of(conninfo: str, settings: dict[str, str]) -> dict[str, str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "DATABASE_URL": conninfo}
    return environment | {"JWT_SECRET": secrets.token_hex(32), "PORT": str(free_port())} | settings


@contextmanager
def serving(conninfo: str, max_age: int = 1, max_wait: int = 2, /, **settings: str) -> Iterator[Api]:
    """Run the API in a process with these settings only.

    The process is forked from one that has imported the application, since the import takes longer than most
    tests. The result of /ready is kept for `max_age` seconds. A request waits for a connection for `max_wait`
    seconds.
    """
    environment, folder = environment_of(conninfo, settings), tempfile.mkdtemp(prefix="tasks")
    process = Forked(target=serve, args=(environment, folder, max_age, max_wait))
    process.start()
    yield from reached(environment, process, Path(folder))


@contextmanager
def deployed(conninfo: str, **settings: str) -> Iterator[Api]:
    """Run the API by its command, as a deploy does."""
    environment = environment_of(conninfo, settings)
    folder = tempfile.mkdtemp(prefix="tasks")  # without a .env
    with Path(folder, "log").open("wb") as log:
        command = [sys.executable, "-m", "app", "run"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    yield from reached(environment, process, Path(folder))


def reached(
    environment: dict[str, str], process: subprocess.Popen[bytes] | Forked, folder: Path
) -> Iterator[Api]:
    secret = environment["JWT_SECRET"] or secrets.token_hex(32)
    api = Api(f"http://127.0.0.1:{environment['PORT']}", secret, process, folder / "log")
    try:
        await_health(api)
        yield api
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def await_health(api: Api) -> None:
    until = time.monotonic() + 120  # a start takes long on a busy machine
    while time.monotonic() < until:
        try:
            httpx.get(f"{api.url}/health", timeout=60).raise_for_status()
        except httpx.TransportError:
            assert api.process.poll() is None, api.log.read_text()
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no response of /health after two minutes:\n{api.log.read_text()}")


@pytest.fixture(scope="session")
def api(server: Server, database: str) -> Iterator[Api]:
    """An API on the shared database, with at most four connections.

    The wait for a connection is long, since tests with 200 concurrent requests are slow on a busy machine.
    """
    with serving(server.conninfo(database, "tasks_api"), 1, 60, POOL_SIZE="4") as running:
        yield running


@contextmanager
def known(api: Api, name: str) -> Iterator[Person]:
    """Make a user with a unique name."""
    user = f"{name}-{uuid4().hex[:12]}"
    token = api.token(user)
    base = f"{api.url}/api/{quote(user, safe='')}"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
        yield Person(user, token, client)


@pytest.fixture
def person(api: Api) -> Iterator[Callable[[str], Person]]:
    """A function that makes a user with a unique name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(known(api, name))


@pytest.fixture
def alice(person: Callable[[str], Person]) -> Person:
    """A user."""
    return person("alice")


@pytest.fixture
def bob(person: Callable[[str], Person]) -> Person:
    """Another user."""
    return person("bob")
