"""Checks of the database at startup and by /ready.

The API refuses to start if row security is not active for its own connection, if a migration is missing, if a
pooler mixes up users or prepared statements, or if sql/audit.sql finds a hole. /ready repeats the cheap
checks, so that a load balancer takes a process out of service if the database becomes unsafe later.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import indent

from psycopg import Error, errors

from app.postgres import NotReady, session_settings
from app.postgres.citus import EXPLAIN_HERE, audit_each, check_identity
from app.postgres.connection import ConnectionLost, Row, Value
from app.postgres.database import READ_AS, Database
from app.postgres.deadline import Client

SQL = Path(__file__).parent.parent.parent / "sql"
# The newest migration, which this code needs.
SCHEMA_VERSION = max(int(file.name[:4]) for file in (SQL / "migrations").iterdir())

log = logging.getLogger("uvicorn.error")

CHECK = """
select app.schema_version(), current_user, app.current_user_id(), (
  select string_agg(oid::regclass::text, ', ' order by oid)
  from pg_class
  where relkind in ('r', 'p', 'f', 'm')
    and relpersistence <> 't'  -- another client of a pooled session can leave a temporary table
    and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and (has_any_column_privilege(oid, 'select, insert, update, references')
      or has_table_privilege(oid, 'delete, truncate, trigger'))
    and not row_security_active(oid)
    and (has_schema_privilege(relnamespace, 'usage') or exists (  -- views and function bodies need no usage
      select from pg_depend
      where refclassid = 'pg_class'::regclass and refobjid = pg_class.oid
        and classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass)
    ))
    and not exists (  -- tables of extensions contain no rows of users
      select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
    )
), pg_is_in_recovery(), pg_catalog.current_setting('search_path'),
to_regprocedure('app.act_as(text)') is not null, (
  select rolsuper or rolbypassrls from pg_roles where rolname = current_user
)
"""
WHO = "select session_user"

# The privileges that the functions in the API's statements need; explaining a statement does not check these.
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
PROBE: Mapping[str, Value] = defaultdict(lambda: None, user_id=session_settings.PROBE_USER, id=0)

# The search_path and the quoting are those that audit.sql expects. The role's statement_timeout is too short
# for the audit.
FOR_AUDIT = (
    b"set local search_path = pg_catalog, pg_temp; set local quote_all_identifiers = off; "
    b"set local statement_timeout = '30s'; set local jit = off"
)
AUDIT_TIMED_OUT = (
    "sql/audit.sql did not end within 30 seconds, so the database was not checked: "
    "run make audit to see how long it takes, and vacuum analyze the system catalogs"
)

PRESET = "select nullif(current_setting('app.user_id', true), '')"


# Errors if the encoding of the server is not UTF-8: the bytes of the probe user are not valid in it, or the
# encoding has no such characters.
NOT_UTF_8 = (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter, errors.ProgramLimitExceeded)


async def check(database: Database) -> None:
    """Raise NotReady unless all migrations are applied and row security is active for this connection."""
    try:
        wrong = await database.probe([session_settings.WRONG], PROBE)
        (row,) = await database.probe([CHECK], PROBE)
    except errors.InsufficientPrivilege as error:
        async with await database.connect() as connection:  # without app.user_id: setting it may be denied
            _check_role(
                database,
                await connection.execute_pipeline([session_settings.WRONG], PROBE),
                (await connection.execute_pipeline([WHO], PROBE))[0][0],
            )
        said = error.diag.message_primary
        raise NotReady(
            f"In the database, tasks_api lacks a privilege: {said}: run make migrate, then make audit"
        ) from None
    except (errors.InvalidSchemaName, errors.UndefinedFunction):
        then = ", then sql/citus.sql" if database.distributed else ""
        raise NotReady(f"The database lacks a function of schema app: run make migrate{then}") from None
    except NOT_UTF_8:
        raise NotReady(
            "The database, or a pooler in front of it, does not support UTF-8: see `show server_encoding`"
        ) from None
    except Error as error:
        raise await session_settings.explain(error, database.connect) from None
    version, role, user, exposed, standby, path, distributed, bypasses = row
    _check_role(database, wrong, role)
    if version < SCHEMA_VERSION:
        raise NotReady(f"The database is at migration {version}, not at {SCHEMA_VERSION}: run make migrate")
    _check_session(database, wrong, path, standby=standby)
    if user != session_settings.PROBE_USER:
        raise NotReady(
            "app.user_id does not reach the statement: the pooler splits the transaction of a pipeline"
        )
    if exposed:
        remedy = "alter table … enable row level security, force row level security"
        if bypasses:
            remedy = "the role is a superuser or has BYPASSRLS; run make migrate"
        raise NotReady(f"Row security is not active for tasks_api on {exposed}: {remedy}")
    await _check_citus(database, distributed=distributed)


def _check_role(database: Database, wrong: list[Row], role: str) -> None:
    """Raise NotReady unless the role is tasks_api. The setting `role` may have changed it."""
    if switched := [row for row in wrong if row[0] == "role"]:
        database.pool.renew()
        raise NotReady(session_settings.describe(switched))
    if role != "tasks_api":
        raise NotReady(f"The role is {role}, not tasks_api: set the user in DATABASE_URL to tasks_api")


def _check_session(database: Database, wrong: list[Row], path: str, *, standby: bool) -> None:
    """Raise NotReady unless the session can write and has the settings that the code relies on.

    In this case all connections of the pool are replaced: their sessions may be older than the settings in
    the catalog, or belong to a server that is a standby now.
    """
    if standby or wrong:
        database.pool.renew()
    if standby:
        raise NotReady("The database is a standby, so it is read-only: point DATABASE_URL at the primary")
    if wrong:
        raise NotReady(session_settings.describe(wrong))
    if path != "pg_catalog":  # operators of another schema could replace those in the check
        raise NotReady(
            f"The search_path of tasks_api is {path}: run make migrate, then have poolers reconnect"
        )


async def _check_citus(database: Database, *, distributed: bool) -> None:
    """Raise NotReady if this process sets app.user_id in a way that does not reach the workers.

    `distributed` is whether app.act_as exists now, that is, whether sql/citus.sql has distributed the tables.
    """
    if distributed != database.distributed:
        raise NotReady("The tables were distributed, or made local, after this process started: restart it")
    if database.on_citus and not distributed:
        raise NotReady("The database has the extension citus, but its tables are local: run sql/citus.sql")
    if database.on_citus:
        async with await database.connect() as connection:
            await check_identity(connection)


async def check_statements(database: Database, statements: Iterable[str]) -> None:
    """Raise NotReady or psycopg's error if a statement cannot run.

    The statements are explained, which needs the same privileges on tables as running them.
    """
    explained = [f"explain {statement}" for statement in statements]
    (row,) = await database.probe([EXPLAIN_HERE, *explained, WITHHELD], PROBE)
    if row[0]:
        raise NotReady(
            f"In the database, tasks_api lacks privileges on {row[0]}: run make migrate, then make audit"
        )


async def check_prepared(database: Database) -> None:
    """Raise NotReady if a connection can run a statement that another connection has prepared.

    In this case a pooler gives one server session to both and does not track prepared statements. PgBouncer,
    if it tracks them, closes the connection, often without an error. A connection that is lost for another
    reason is not lost again with the next attempt.
    """
    if database.options["prepare_threshold"] is None:
        return
    async with database.pool.connection() as connection:
        for _ in range(2):
            async with await database.connect() as another:
                with suppress(errors.DuplicatePreparedStatement), Client():
                    await database.execute(connection, (READ_AS, CHECK), PROBE)
                    another.names = dict(connection.names)
                    try:
                        await database.execute(another, (READ_AS, CHECK), PROBE)
                    except errors.InvalidSqlStatementName:
                        return
                    except ConnectionLost:
                        continue
            raise NotReady("The pooler does not track prepared statements: set PREPARED_STATEMENTS=false")


async def audit(database: Database, on_hole: str) -> None:
    """Run sql/audit.sql as tasks_api. Raise NotReady for a hole, unless `on_hole` is "warn"."""
    async with database.pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(FOR_AUDIT)
        preset = await (await connection.execute(PRESET)).fetchone()
        if preset != (None,):
            raise NotReady("app.user_id is set in every new session: find where it is set, and reset it")
        sql = (SQL / "audit.sql").read_text()
        try:
            rows = await (await connection.execute(sql.encode())).fetchall()
        except errors.QueryCanceled:
            raise NotReady(AUDIT_TIMED_OUT) from None
    _judge({describe(*row): row[0] for row in rows}, on_hole)
    await audit_workers(database, on_hole)


async def audit_workers(database: Database, on_hole: str) -> None:
    """Audit the workers of Citus that are not audited yet; raise NotReady for a hole.

    A worker that does not respond is logged and skipped, so that the API serves the users of the others.
    /ready audits it as soon as it responds.
    """
    if database.unaudited == []:
        return
    sql = (SQL / "audit.sql").read_text()
    try:
        async with await database.connect() as connection:
            found, away = await audit_each(connection, sql, FOR_AUDIT, database.unaudited)
    except errors.QueryCanceled:
        raise NotReady(AUDIT_TIMED_OUT) from None
    _judge({f"{worker}: {describe(*row)}": row[0] for worker, row in found}, on_hole)
    for worker in sorted({*away} - {*(database.unaudited or ())}):
        log.warning("%s does not respond, so it was not audited: /ready audits it later", worker)
    for worker in sorted({*(database.unaudited or ())} - {*away}):
        log.info("%s responds again, and was audited", worker)
    database.unaudited = away


def _judge(findings: Mapping[str, str], on_hole: str) -> None:
    """Log findings, each with its severity. Raise NotReady for a hole, unless `on_hole` is "warn"."""
    holes = [finding for finding, severity in findings.items() if severity == "hole"]
    if holes and on_hole == "refuse":
        raise NotReady("\n\n".join(["The database does not isolate users:", *holes]))
    for finding, severity in findings.items():
        log.log(logging.WARNING if severity in ("hole", "warning") else logging.INFO, "%s", finding)


def describe(severity: str, check_name: str, thing: str, finding: str, remedy: str) -> str:
    """Return one row of audit.sql as text: the finding, its consequence, and the SQL that fixes it."""
    return f"{severity}: {check_name}: {thing}\n{indent(finding, '  ')}\n{indent(remedy, '    ')}"
