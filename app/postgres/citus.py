"""The workers of a Citus cluster. Each is checked through the coordinator, as requests reach it."""

import json
from collections.abc import Container
from typing import Any

from psycopg import OperationalError

from app.postgres import NotReady
from app.postgres.connection import Connection
from app.postgres.session_settings import PROBE_USER

# If sql/citus.sql has created app.act_as, the user must be set with it: only `set local` in a transaction
# block reaches the workers.
DISTRIBUTED = "select 1 from pg_catalog.pg_proc where oid = pg_catalog.to_regprocedure('app.act_as(text)')"
CITUS = "select 1 from pg_catalog.pg_extension where extname = 'citus'"
# The worker that has the user's rows, if there are several.
WORKER = """
select placement.groupid
from pg_catalog.pg_dist_shard as shard
join pg_catalog.pg_dist_placement as placement on placement.shardid = shard.shardid
where shard.logicalrelid = 'app.users'::pg_catalog.regclass
  and pg_catalog.hashtext(%(user_id)s)
    between shard.shardminvalue::pg_catalog.int4 and shard.shardmaxvalue::pg_catalog.int4
  and exists (select from pg_catalog.pg_dist_placement as other where other.groupid <> placement.groupid)
"""
WORKERS_AGE = 60  # seconds, since rows may be moved to another worker

# A probe user for each worker. The hash of the user id determines the worker that has the user's rows.
WORKERS = """
select distinct on (node.nodeid) node.nodename || ':' || node.nodeport, 'probe ' || number
from generate_series(1, 2000) as number
join pg_dist_shard as shard on shard.logicalrelid = 'app.users'::regclass
  and hashtext('probe ' || number) between shard.shardminvalue::integer and shard.shardmaxvalue::integer
join pg_dist_placement as placement on placement.shardid = shard.shardid
join pg_dist_node as node on node.groupid = placement.groupid and node.noderole = 'primary'
"""

# On Citus, explain would run on the workers, too, and use up a task id. Without Citus the setting has no
# effect.
EXPLAIN_HERE = "select set_config('citus.explain_distributed_queries', 'off', true)"

# Citus sends these to the worker that would have the probe user's rows, even if there are none. tasks_api
# itself cannot log in to a worker or run commands there.
REACHED = "select app.current_user_id(), count(*) from app.users where id = %s"
AUDIT = """
select count(*), (
  select json_agg(array[severity, check_name, object, finding, remedy])::text
  from xmltable('/table/row' passing query_to_xml(%s, true, false, '') columns
    severity text, check_name text, object text, finding text, remedy text)
)
from app.users
where id = %s
"""
# Time limits for a worker to respond, before the audit and for /ready. A worker that hangs never responds.
START_TIMEOUT, READY_TIMEOUT = "5s", "500ms"


async def check_identity(connection: Connection) -> None:
    """Raise NotReady if app.user_id does not reach a worker. A worker that does not respond is ignored."""
    await _reach(connection, PROBE_USER, "the workers", READY_TIMEOUT)


async def audit_each(
    connection: Connection, audit: str, settings: bytes, wanted: Container[str] | None
) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Run the audit on the wanted workers, by default all.

    Return pairs of a worker (HOST:PORT) and a row of audit.sql, and the workers that do not respond.
    """
    found: list[tuple[str, list[str]]] = []
    away: list[str] = []
    for worker, user in await (await connection.execute(WORKERS)).fetchall():
        if wanted is not None and worker not in wanted:
            continue
        if not await _reach(connection, user, worker, START_TIMEOUT):
            away.append(worker)
            continue
        async with connection.transaction(force_rollback=True):
            await connection.execute("select app.act_as(%s)", (user,))
            await connection.execute(settings)  # after act_as, Citus passes these settings on, too
            row: Any = await (await connection.execute(AUDIT, (audit.strip().rstrip(";"), user))).fetchone()
            found += [(worker, finding) for finding in json.loads(row[1] or "[]")]
    return found, away


async def _reach(connection: Connection, user: str, worker: str, limit: str) -> bool:
    """Return whether the worker of this user responds. Raise NotReady if app.user_id is not set there.

    The connection should be new: on one that is connected to the worker already, the coordinator would wait
    without a limit for a worker that hangs.
    """
    try:
        async with connection.transaction():
            await connection.execute("select set_config('statement_timeout', %s, true)", (limit,))
            await connection.execute("select app.act_as(%s)", (user,))
            ((seen, _),) = await (await connection.execute(REACHED, (user,))).fetchall()
    except OperationalError:
        if connection.closed:
            raise
        return False
    if seen != user:
        raise NotReady(f"app.user_id does not reach {worker}, so all lists are empty: run sql/citus.sql")
    return True
