"""Checks of the workers of a Citus cluster: each is queried through the coordinator, as requests are."""

import json
from typing import Any

from psycopg.errors import InsufficientPrivilege

from app.postgres import Unready
from app.postgres.connection import Connection
from app.postgres.database import Database

# A probe user for each worker. The hash of the user id determines the worker that holds the user's rows.
SERVERS = """
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

# The worker that holds the probe user's rows runs all of this. tasks_api cannot log in to it or run commands
# there.
PROBE = """
select count(*), app.current_user_id(), (
  select json_agg(array[severity, check_name, object, finding, remedy])::text
  from xmltable('/table/row' passing query_to_xml(%s, true, false, '') columns
    severity text, check_name text, object text, finding text, remedy text)
)
from app.users
where id = %s
"""


def check_spread(database: Database, passed_on: str | None, *, spread: bool) -> None:
    """Raise Unready if app.user_id would not reach the rows.

    `passed_on` is the setting citus.propagate_set_commands, or None without Citus. `spread` is whether the
    tables are distributed now.
    """
    if spread != database.spread:
        raise Unready(
            "The tables were distributed, or made local again, after the start: restart this process"
        )
    if passed_on and not spread:
        raise Unready("The database has the extension citus, but its tables are local: run sql/citus.sql")
    if passed_on not in (None, "local"):
        raise Unready("citus.propagate_set_commands is not local for tasks_api: run sql/citus.sql")


async def ask_servers(connection: Connection, audit: str) -> list[tuple[str, list[str]]]:
    """Run the audit on each worker; return pairs of a server and a finding. Raise Unready if a worker fails.

    The caller must roll back, which deletes the rows of the probe users.
    """
    found: list[tuple[str, list[str]]] = []
    for server, user in await (await connection.execute(SERVERS)).fetchall():
        await connection.execute("select app.act_as(%s)", (user,))
        try:
            await connection.execute("insert into app.tasks (title) values ('probe')")
        except InsufficientPrivilege:  # the policy on the worker sees another user, or none
            raise _no_own_row(server) from None
        row: Any = await (await connection.execute(PROBE, (audit.strip().rstrip(";"), user))).fetchone()
        if row[:2] != (1, user):
            raise _no_own_row(server)
        found += [(server, finding) for finding in json.loads(row[2] or "[]")]
    return found


def _no_own_row(server: str) -> Unready:
    return Unready(f"A user does not see their own row on {server}: run sql/citus.sql")
