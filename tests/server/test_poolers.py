"""Behind PgBouncer no user stays set on a connection to the server, and migrations refuse a pooler."""

import re
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest
from conftest import ACT_AS, ROOT, Server, serving
from support.crossing import cross_while_looking
from support.faults import KEEPS_PREPARED, PGBOUNCER, Cluster, Ends, Network, cluster, network, pgbouncer
from support.starts import refusal

from app.commands import migrations, reports
from app.postgres import deadline

pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Cluster]:
    """A server with app.act_as, as on Citus. `make chaos` uses a pooler without it."""
    with cluster(server.version) as made:
        made.start(fsync="off")
        made.migrated()
        with made.connect("tasks") as owner:
            owner.execute(re.findall(ACT_AS, (ROOT / "sql/citus.sql").read_text())[0])
        yield made


@pytest.mark.parametrize("prepared", ["false", "true"])
def test_a_user_is_set_for_one_transaction_of_a_pooled_connection(postgres: Cluster, prepared: str) -> None:
    with pgbouncer(postgres, prepared=100) as port:
        pooler = postgres.conninfo("tasks", "tasks_api", port)
        settings = {"POOL_SIZE": "20", "PREPARED_STATEMENTS": prepared}
        if prepared == "true" and not KEEPS_PREPARED:
            with (
                pytest.raises(AssertionError, match="PREPARED_STATEMENTS=false"),
                serving(pooler, **settings),
            ):
                pass
            return
        with serving(pooler, 1, 60, **settings) as api:
            seen, looks, left = cross_while_looking(
                api, pooler, users=20, requests=400, clients=30, aborting=0.05
            )
    assert seen.rows
    assert looks
    assert (seen.foreign, left, seen.unsound, seen.refusals) == (0, 0, [], {})


def test_in_session_mode_one_connection_more_than_pool_size_is_enough(postgres: Cluster) -> None:
    with (
        pgbouncer(postgres, "session") as port,
        serving(postgres.conninfo("tasks", "tasks_api", port), POOL_SIZE="1") as api,
    ):
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200


def test_a_start_with_too_few_connections_in_session_mode_names_the_cause(
    postgres: Cluster, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "TIME_LIMIT", 1)
    with pgbouncer(postgres, "session") as port:
        pooler = postgres.conninfo("tasks", "tasks_api", port)
        configure(DATABASE_URL=pooler, JWT_SECRET="x" * 32)
        with psycopg.connect(pooler) as other:
            other.execute("select 1")  # now one of the two connections is left
            assert "in session mode, a process needs POOL_SIZE + 1" in refusal()


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("command", [migrations.migrate, migrations.rollback, migrations.show])
def test_migrations_refuse_a_pooler_and_leave_no_lock(
    postgres: Cluster, mode: str, command: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pgbouncer(postgres, mode) as port, postgres.connect("tasks") as owner:
        with pytest.raises(SystemExit, match="MIGRATION_DATABASE_URL: connects to a pooler"):
            command(postgres.conninfo("tasks", "tasks_api", port))
        locks = "select count(*) from pg_locks where locktype = 'advisory'"
        assert owner.execute(locks).fetchone() == (0,)
        migrations.migrate(postgres.conninfo("tasks"))
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"


class OwnKeys(Network):
    """A proxy that changes the cancellation keys, but opens a session for each client, as Neon's does."""

    async def _serve(self, client: Ends, server: Ends) -> None:
        (reader, writer), (upstream, onwards) = client, server
        size = await reader.readexactly(4)
        onwards.write(size + await reader.readexactly(int.from_bytes(size) - 4))
        head = b""
        while head[:1] != b"K":
            head = await upstream.readexactly(5)
            body = await upstream.readexactly(int.from_bytes(head[1:]) - 4)
            writer.write(head + (bytes([0, 0, 0, 1]) + body[4:] if head[:1] == b"K" else body))
        await super()._serve(client, server)


def test_migrations_pass_a_proxy_that_gives_each_client_a_session(
    postgres: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with network(postgres.port, OwnKeys) as proxy:
        migrations.migrate(
            f"{postgres.conninfo('tasks', port=proxy.port)} sslmode=disable gssencmode=disable"
        )
    assert capsys.readouterr().out == "nothing to apply: the database is up to date\n"


@pytest.mark.parametrize("report", [reports.audit, reports.prove, reports.policies])
def test_a_report_leaves_no_setting_in_a_pooled_session(
    postgres: Cluster, report: Callable[[str], reports.Report]
) -> None:
    settings = "select name, setting from pg_settings where source = 'session' and name <> 'application_name'"
    with pgbouncer(postgres, "transaction") as port:
        pooler = postgres.conninfo("tasks", "tasks_api", port)
        with psycopg.connect(pooler, autocommit=True) as connection:
            before = connection.execute(settings).fetchall()
        report(pooler)
        with psycopg.connect(pooler, autocommit=True) as connection:
            assert connection.execute(settings).fetchall() == before
