"""A Citus cluster on the loopback: PostgreSQL servers as a coordinator and its workers."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from conftest import ROOT, Database, Server
from psycopg import sql

from app.commands import migrations
from support import faults

ABSENT = (
    "There is no PostgreSQL with Citus here: set PG_CONFIG to the pg_config of one. "
    "Citus has packages and a container image."
)
NODE = {
    "shared_preload_libraries": "citus",
    "shared_buffers": "32MB",
    "wal_level": "logical",  # shards are moved by logical replication
    "fsync": "off",
    "max_connections": 200,
    "max_prepared_transactions": 200,
    "citus.node_conninfo": "sslmode=disable",
    "citus.enable_statistics_collection": "off",
}
# On a worker tasks_api needs a password. The coordinator sends the one in pg_dist_authinfo (node 0: all
# nodes).
CLOSED = "host all tasks_api all scram-sha-256\n"
KEEP_PASSWORD = "insert into pg_dist_authinfo (nodeid, rolename, authinfo) values (0, 'tasks_api', %s)"


def programs() -> Path | None:
    """Return the folder of programs of the PostgreSQL that PG_CONFIG names, if it has Citus."""
    if not (pg_config := os.environ.get("PG_CONFIG")):
        return None
    run = subprocess.run([pg_config, "--bindir", "--sharedir"], check=True, capture_output=True, text=True)
    programs, share = map(Path, run.stdout.split("\n")[:2])
    return programs if (share / "extension/citus.control").exists() else None


@dataclass(frozen=True)
class Citus(Server):
    """A coordinator, as a Server whose databases are distributed over the workers."""

    coordinator: faults.Cluster
    workers: list[faults.Cluster]
    password: str  # of tasks_api on the workers; only the coordinator knows it
    stack: ExitStack = field(default_factory=ExitStack)

    def conninfo(self, database: str, user: str = "postgres") -> str:
        return self.coordinator.conninfo(database, user)

    @contextmanager
    def database(self, template: str | None = None, *, as_template: bool = False) -> Iterator[str]:  # noqa: ARG002
        """Create a migrated, distributed database. It cannot be cloned from a template."""
        with self.local() as name:
            self.spread(name)
            yield name

    @contextmanager
    def local(self) -> Iterator[str]:
        """Create a migrated database with workers whose tables are not distributed yet."""
        name = f"tasks_{uuid4().hex[:12]}"
        for node in (self.coordinator, *self.workers):
            self.admit(node, name)
        try:
            migrations.migrate(self.conninfo(name, "owner"))
            with self.connect(name) as connection:
                connection.execute(sql.SQL("alter role tasks_api login password {}").format(self.password))
                connection.execute(KEEP_PASSWORD, [f"password={self.password}"])
                port = self.coordinator.port
                connection.execute("select citus_set_coordinator_host('127.0.0.1', %s)", (port,))
                for worker in self.workers:
                    connection.execute("select citus_add_node('127.0.0.1', %s)", (worker.port,))
            yield name
        finally:
            for node in (self.coordinator, *self.workers):
                with node.connect() as connection:
                    connection.execute(f"drop database {name} with (force)")

    @contextmanager
    def template(self) -> Iterator[str]:
        """Yield no name: a distributed database cannot be cloned."""
        yield ""

    def admit(self, node: faults.Cluster, database: str) -> None:
        """Create an empty database with the extension on a node, and its owner, who is not a superuser."""
        with node.connect() as connection:
            if not connection.execute("select from pg_roles where rolname = 'owner'").rowcount:
                connection.execute("create role owner login createrole")
            connection.execute(f"create database {database} owner owner")
        with node.connect(database) as connection:
            connection.execute("create extension citus")

    def spread(self, database: str) -> str:
        """Run citus.sql with psql, as a DBA does."""
        psql, file = self.coordinator.binaries / "psql", ROOT / "sql/citus.sql"
        command = [str(psql), "-XAt", "-d", self.conninfo(database), "-f", str(file)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def command(
        self, name: str, database: str, user: str = "owner", node: faults.Cluster | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the project, by default as the owner on the coordinator."""
        address = (node or self.coordinator).conninfo(database, user)
        environment = os.environ | {"MIGRATION_DATABASE_URL": address}
        arguments = [sys.executable, "-m", "app", name]
        return subprocess.run(
            arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def start_worker(self) -> faults.Cluster:
        """Start one more server. It is not added to any database yet."""
        worker = start(self.stack, CLOSED)
        self.workers.append(worker)
        return worker

    def stop_worker(self, worker: faults.Cluster, database: str) -> None:
        """Remove a worker without shards from the cluster, and stop it."""
        with self.connect(database) as connection:
            connection.execute("select citus_remove_node('127.0.0.1', %s)", (worker.port,))
        self.workers.remove(worker)
        worker.end(signal.SIGQUIT)

    def copy(self, node: faults.Cluster, stack: ExitStack) -> faults.Cluster:
        """Restore a base backup of a node into a new folder. It is not started."""
        made = stack.enter_context(faults.cluster(str(programs())))
        shutil.rmtree(made.data)
        program, options = str(made.binaries / "pg_basebackup"), ("-d", node.conninfo(), "--checkpoint=fast")
        subprocess.run([program, "-D", str(made.data), *options], user=faults.NOBODY, check=True)
        return made

    def on(self, worker: faults.Cluster, database: str) -> Database:
        """Connect to a worker as a superuser, with shards visible in catalogs."""
        connection = worker.connect(database)
        connection.execute("set citus.override_table_visibility = off")
        return connection


def start(stack: ExitStack, access: str = "") -> faults.Cluster:
    """Start a server that can be a node, with these lines at the top of its pg_hba.conf."""
    node = stack.enter_context(faults.cluster(str(programs())))
    rules = node.data / "pg_hba.conf"
    rules.write_text(access + rules.read_text())
    node.start(**NODE)
    return node


@contextmanager
def citus(workers: int = 2) -> Iterator[Citus]:
    """Run a coordinator and its workers."""
    with ExitStack() as stack:
        coordinator = start(stack)
        others = [start(stack, CLOSED) for _ in range(workers)]
        password = secrets.token_hex(16)
        yield Citus("citus", "127.0.0.1", coordinator.binaries, coordinator, others, password, stack)
