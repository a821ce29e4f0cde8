"""Refusing to run unsafe: what must hold of the database before it is served from, and while it is."""

import logging

from psycopg.errors import InvalidSchemaName, UndefinedFunction

from app.database import READ_AS, Database
from app.reports import SQL, describe

SCHEMA_VERSION = 5  # the newest migration this code needs

log = logging.getLogger("uvicorn.error")

CHECK = """
select app.schema_version(), current_user, app.current_user_id(), (
  select string_agg(oid::regclass::text, ', ' order by oid)
  from pg_class
  where relkind in ('r', 'p', 'f', 'm')
    and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and (has_any_column_privilege(oid, 'select, insert, update, references')
      or has_table_privilege(oid, 'delete, truncate, trigger'))
    and not row_security_active(oid)
    and not exists (  -- what an extension brings along holds no user's rows
      select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
    )
)
"""

PRESET = "select nullif(current_setting('app.user_id', true), '')"


class Unready(Exception):
    """Why the database is not what this code needs, and what to do."""


async def check(database: Database) -> None:
    """Raise Unready unless the migrations are there and row security holds for this very connection."""
    try:
        ((version, role, user, exposed),) = await database.run(READ_AS, CHECK, {"user_id": "somebody"})
    except (InvalidSchemaName, UndefinedFunction):
        version, role, user, exposed = b"0", b"tasks_api", b"somebody", None
    if role != b"tasks_api":
        raise Unready(f"The role {role.decode()} is not tasks_api, as DATABASE_URL must make it")
    if int(version) < SCHEMA_VERSION:
        known = f"The database is at migration {int(version)}"
        raise Unready(f"{known}, this code needs {SCHEMA_VERSION}: run make migrate")
    if user != b"somebody":
        raise Unready("The identity does not reach the statement: the pooler takes a pipeline apart")
    if exposed:
        raise Unready(f"Row security is not active for tasks_api on {exposed.decode()}: enable and force it")


async def audit(database: Database, on_hole: str) -> None:
    """Run sql/audit.sql as the API's own role: raise Unready on a hole, unless told to `warn`."""
    async with database.pool.connection() as connection, connection.transaction():
        await connection.execute("set local search_path = pg_catalog")
        preset = await (await connection.execute(PRESET)).fetchone()
        if preset != (None,):
            raise Unready(
                "The setting app.user_id names a user in every new session: find where, and reset it"
            )
        rows = await (await connection.execute((SQL / "audit.sql").read_bytes())).fetchall()
    findings = {describe(*row): row[0] for row in rows}
    holes = [finding for finding, severity in findings.items() if severity == "hole"]
    if holes and on_hole == "refuse":
        raise Unready("\n\n".join(["The database does not keep users apart:", *holes]))
    for finding in findings:
        log.warning("%s", finding)
