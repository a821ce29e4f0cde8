"""Through PgBouncer in transaction mode, and no identity stays on a connection of the server's."""

import re
from collections.abc import Iterator

import pytest
from conftest import ACT_AS, ROOT, Server, serving
from support.crossing import cross_watched
from support.faults import KEEPS_PREPARED, PGBOUNCER, Cluster, cluster, pgbouncer

pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Cluster]:
    """A server where users are named in the explicit form; make chaos goes through a pooler in the other."""
    with cluster(server.version) as made:
        made.start(fsync="off")
        made.migrated()
        with made.connect("tasks") as owner:
            owner.execute(re.findall(ACT_AS, (ROOT / "sql/citus.sql").read_text())[0])
        yield made


@pytest.mark.parametrize("prepared", ["false", "true"])
def test_a_user_is_named_for_one_transaction_of_a_pooled_connection(postgres: Cluster, prepared: str) -> None:
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
            seen, looks, left = cross_watched(api, pooler, users=20, requests=400, clients=30, aborting=0.05)
    assert seen.rows
    assert looks
    assert (seen.foreign, left, seen.unsound, seen.refusals) == (0, 0, [], {})
