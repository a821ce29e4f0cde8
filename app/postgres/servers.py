"""The servers of Citus that hold users' rows, asked in the way that requests take."""

import json
from typing import Any

from psycopg.errors import InsufficientPrivilege

from app.postgres import Unready
from app.postgres.connection import Connection
from app.postgres.database import Database

# An invented user for each: the hash of their name says where their rows lie.
SERVERS = """
select distinct on (node.nodeid) node.nodename || ':' || node.nodeport, 'probe ' || number
from generate_series(1, 2000) as number
join pg_dist_shard as shard on shard.logicalrelid = 'app.users'::regclass
  and hashtext('probe ' || number) between shard.shardminvalue::integer and shard.shardmaxvalue::integer
join pg_dist_placement as placement on placement.shardid = shard.shardid
join pg_dist_node as node on node.groupid = placement.groupid and node.noderole = 'primary'
"""

# Explaining would ask the workers too, and take an id. Without Citus, nothing reads what this sets.
EXPLAIN_HERE = "select set_config('citus.explain_distributed_queries', 'off', true)"

# All of it is asked where the user's rows lie, where tasks_api may neither log in nor have commands run.
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
    """Raise Unready unless users are named as their rows lie; `passed_on` is a setting of Citus, if any."""
    if spread != database.spread:
        raise Unready("The tables were spread over servers, or joined, after the start: restart this process")
    if passed_on and not spread:
        raise Unready("The database has the extension citus, but its tables lie here: run sql/citus.sql")
    if passed_on not in (None, "local"):
        raise Unready("citus.propagate_set_commands is not local for tasks_api: run sql/citus.sql")


async def ask_servers(connection: Connection, audit: str) -> list[tuple[str, list[str]]]:
    """Return what the audit finds, each with its server; raise Unready.

    Leaves rows of invented users to the caller's rollback.
    """
    found: list[tuple[str, list[str]]] = []
    for server, user in await (await connection.execute(SERVERS)).fetchall():
        await connection.execute("select app.act_as(%s)", (user,))
        try:
            await connection.execute("insert into app.tasks (title) values ('probe')")
        except InsufficientPrivilege:  # the policy there sees another user, or none
            raise _unanswered(server) from None
        answer: Any = await (await connection.execute(PROBE, (audit.strip().rstrip(";"), user))).fetchone()
        if answer[:2] != (1, user):
            raise _unanswered(server)
        found += [(server, row) for row in json.loads(answer[2] or "[]")]
    return found


def _unanswered(server: str) -> Unready:
    return Unready(f"{server} does not answer a user with their own row: run sql/citus.sql")
