"""Refusing to run unsafe: what must hold of the database before it is served from, and while it is."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import indent

from psycopg import errors

from app.postgres import Unready, session
from app.postgres.connection import Row, Value
from app.postgres.database import READ_AS, Database
from app.postgres.deadline import Client, Deadline
from app.postgres.servers import EXPLAIN_HERE, ask_servers, check_spread

SQL = Path(__file__).parent.parent.parent / "sql"
SCHEMA_VERSION = max(int(file.name[:4]) for file in (SQL / "migrations").iterdir())  # that this code needs

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
    and (has_schema_privilege(relnamespace, 'usage') or exists (  -- a view or a body needs none
      select from pg_depend
      where refclassid = 'pg_class'::regclass and refobjid = pg_class.oid
        and classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass)
    ))
    and not exists (  -- what an extension brings along holds no user's rows
      select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
    )
), pg_is_in_recovery(), pg_catalog.current_setting('search_path'), (
  select coalesce(current_setting('citus.propagate_set_commands', true), 'unknown')
  from pg_extension
  where extname = 'citus'
), to_regprocedure('app.act_as(text)') is not null
"""

# What explaining the API's statements does not check: privileges that the functions in them need.
WITHHELD = """
select string_agg(distinct name, ', ')
from (
  values ('app.users', has_any_column_privilege('app.users', 'select')),
    ('app.users', has_any_column_privilege('app.users', 'insert')),
    ('app.users', has_any_column_privilege('app.users', 'update')),
    ('app.idempotency_keys', has_any_column_privilege('app.idempotency_keys', 'select')),
    ('app.idempotency_keys', has_any_column_privilege('app.idempotency_keys', 'insert')),
    ('app.idempotency_keys', has_table_privilege('app.idempotency_keys', 'delete')),
    ('app.next_task_id', has_function_privilege('app.next_task_id()', 'execute')),
    ('app.insert_task', has_function_privilege('app.insert_task(json)', 'execute'))
) as needed (name, held)
where not held
"""
PROBE: Mapping[str, Value] = defaultdict(lambda: None, user_id=session.PROBE_USER, id=0)

# Names are looked up in pg_catalog alone; the role's own limit is meant for requests.
FOR_AUDIT = (
    b"set local search_path = pg_catalog, pg_temp; set local statement_timeout = '30s'; set local jit = off"
)
AUDIT_TIMED_OUT = (
    "sql/audit.sql did not end within 30 seconds, so nothing is known of the database: "
    "run make audit to see how long it takes, and vacuum analyze the system catalogs"
)

PRESET = "select nullif(current_setting('app.user_id', true), '')"


# The server takes the bytes of the probe for no text, or has no such characters.
NOT_UTF_8 = (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter, errors.ProgramLimitExceeded)


async def check(database: Database) -> None:
    """Raise Unready unless the migrations are there and row security holds for this very connection."""
    try:
        (row,) = await database.probe([CHECK], PROBE)
        wrong = await database.probe([session.WRONG], PROBE)
    except (errors.InvalidSchemaName, errors.UndefinedFunction):
        then = ", then sql/citus.sql" if database.spread else ""
        raise Unready(f"The database lacks a function of schema app: run make migrate{then}") from None
    except NOT_UTF_8:
        raise Unready(
            "The database, or a pooler before it, takes no UTF-8: see `show server_encoding`"
        ) from None
    version, role, user, exposed, standby, path, passed_on, spread = row
    if role != "tasks_api":
        raise Unready(f"The role {role} is not tasks_api, as DATABASE_URL must make it")
    if version < SCHEMA_VERSION:
        raise Unready(f"The database is at migration {version}, not at {SCHEMA_VERSION}: run make migrate")
    _check_session(database, wrong, path, standby=standby)
    if user != session.PROBE_USER:
        raise Unready("The identity does not reach the statement: the pooler takes a pipeline apart")
    if exposed:
        raise Unready(f"Row security is not active for tasks_api on {exposed}: enable and force it")
    check_spread(database, passed_on, spread=spread)


def _check_session(database: Database, wrong: list[Row], path: str, *, standby: bool) -> None:
    """Raise Unready unless the session can write and has the settings that the code relies on.

    The pool is renewed then: its sessions may be older than their settings, or of another server by now.
    """
    if standby or wrong:
        database.pool.renew()
    if standby:
        raise Unready("The database is read-only, as a standby: point DATABASE_URL at the primary")
    if wrong:
        raise Unready(f"The session of tasks_api is not as the code needs it. {session.describe(wrong)}")
    if path != "pg_catalog":  # where another schema's operators could stand in for those of the check
        raise Unready(
            f"The search_path of tasks_api is {path}: run make migrate, then have poolers reconnect"
        )


async def check_statements(database: Database, statements: Iterable[str]) -> None:
    """Raise Unready or psycopg's error where one could not run: explaining it takes the same privileges."""
    explained = [f"explain {statement}" for statement in statements]
    (row,) = await database.probe([EXPLAIN_HERE, *explained, WITHHELD], PROBE)
    if row[0]:
        raise Unready(f"The database grants tasks_api too little on {row[0]}: run make audit")


async def check_prepared(database: Database) -> None:
    """Raise Unready where one connection finds what another prepared: the pooler mixes them up."""
    if database.options["prepare_threshold"] is None:
        return
    async with database.pool.connection() as connection, await database.connect() as another:
        with suppress(errors.DuplicatePreparedStatement), Deadline(Client()):
            await database.execute(connection, (READ_AS, CHECK), PROBE)
            another.names = dict(connection.names)
            try:
                await database.execute(another, (READ_AS, CHECK), PROBE)
            except errors.InvalidSqlStatementName:
                return
    raise Unready("The pooler does not keep prepared statements apart: set PREPARED_STATEMENTS=false")


async def audit(database: Database, on_hole: str) -> None:
    """Run sql/audit.sql as the API's own role: raise Unready on a hole, unless told to `warn`."""
    async with database.pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(FOR_AUDIT)
        preset = await (await connection.execute(PRESET)).fetchone()
        if preset != (None,):
            raise Unready("app.user_id names a user in every new session: find where it is set, and reset it")
        sql = (SQL / "audit.sql").read_text()
        try:
            rows = await (await connection.execute(sql.encode())).fetchall()
            found = await ask_servers(connection, sql) if database.on_citus else []
        except errors.QueryCanceled:
            raise Unready(AUDIT_TIMED_OUT) from None
    findings = {describe(*row): row[0] for row in rows}
    findings |= {f"{server}: {describe(*row)}": row[0] for server, row in found}
    holes = [finding for finding, severity in findings.items() if severity == "hole"]
    if holes and on_hole == "refuse":
        raise Unready("\n\n".join(["The database does not keep users apart:", *holes]))
    for finding, severity in findings.items():
        log.log(logging.WARNING if severity in ("hole", "warning") else logging.INFO, "%s", finding)


def describe(severity: str, check_name: str, thing: str, finding: str, remedy: str) -> str:
    """Lay out one finding of audit.sql: what it is, what may happen, and the SQL to paste."""
    return f"{severity}: {check_name}: {thing}\n{indent(finding, '  ')}\n{indent(remedy, '    ')}"
