"""Migrations with yoyo.

Each migration is recorded in the transaction that applies it, and an advisory lock lets one deploy migrate at
a time. yoyo itself applies and records in two transactions, and its lock is a row that a killed deploy leaves
behind.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration, MigrationList

from app.commands import role
from app.postgres import safety

DIRECTORY = safety.SQL / "migrations"

# PostgreSQL releases this lock when the session ends, even if its client was killed.
LOCK = "select pg_catalog.pg_advisory_lock(pg_catalog.hashtext('app.migrations'))"

HOLDER = """
select format('process %s, of role %s (%s)', a.pid, a.usename, a.application_name)
from pg_locks as l
join pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and a.datname = current_database()
  and (l.classid::bigint << 32 | l.objid::bigint) = hashtext('app.migrations')
"""

# The first setting has an effect only on Citus, which otherwise refuses to change a function after a parallel
# change of a table in the same transaction. With the second one, backslashes in the migrations' regular
# expressions are literal. With the third one, the role's search_path is stored as it is written.
SETTINGS = """
set citus.multi_shard_modify_mode = 'sequential'; set standard_conforming_strings = on;
set quote_all_identifiers = off
"""
# Removes the time limits that are set for the database or the role, as pg_dump does, since a migration or a
# report may take longer. transaction_timeout exists since PostgreSQL 17.
UNLIMIT = """
select pg_catalog.set_config(name, '0', false)
from pg_catalog.pg_settings
where name in ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')
"""

# The roles whose functions a migration may call: superusers, its own role, and the owner of the database.
TRUSTED = """
select array(
  select oid from pg_roles where rolsuper or rolname in (current_user, 'pg_database_owner')
  union all
  select datdba from pg_database where datname = current_database()
)
"""

# Other roles that own schema app, or a table or function in it. With CREATE on the database, a role could
# create them before the first deploy, and these commands call functions of the schema.
OWNERS = """
select string_agg(distinct o.owner::regrole::text, ', ')
from (
  select nspowner from pg_namespace where nspname = 'app'
  union all
  select relowner from pg_class where relnamespace = to_regnamespace('app') and relkind in ('r', 'p')
  union all
  select proowner from pg_proc where pronamespace = to_regnamespace('app')
) as o (owner)
where o.owner <> all (%(trusted)s::oid[])
"""

# The schemas that contain yoyo's tables. Another program that uses yoyo has tables with the same names. Views
# of other roles are not read, since functions in them would run with the rights of the role that migrates.
RECORDS = """
select n.nspname
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relname = '_yoyo_migration' and c.relowner = any (%s::oid[])
  and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
"""
# Not schema app: a rollback could not drop that schema while it contains yoyo's tables. Not a schema of
# another role, such as one with the name of this role: its owner could replace the tables.
FIRST_OF_PATH = """
select coalesce((
  select nspname from pg_namespace
  where nspname = current_schema() and nspname <> 'app' and nspowner = any (%s::oid[])
), 'public')
"""
YOYO = ["_yoyo_migration", "_yoyo_log", "_yoyo_version"]

# Objects of other roles whose code would run with the rights of the role that migrates: tables with the names
# of yoyo's, since their triggers and policies would run, and functions of triggers on yoyo's own tables.
SHADOWS = """
with tables as (
  select * from pg_class where relnamespace = to_regnamespace(%(home)s) and relname = any (%(tables)s)
)
select string_agg(format('%%s of role %%s', o.name, o.owner::regrole), ', ')
from (
  select format('table %%s', oid::regclass), relowner from tables
  union all
  select format('trigger %%I on %%s', g.tgname, t.oid::regclass), f.proowner
  from tables as t
  join pg_trigger as g on g.tgrelid = t.oid
  join pg_proc as f on f.oid = g.tgfoid
) as o (name, owner)
where o.owner <> all (%(trusted)s::oid[])
"""
# With default privileges, as on Supabase, other roles can write to yoyo's tables, create triggers on
# them, and read the names of the machines and users that deploy.
GRANTED = """
select format('revoke all on %%s from %%s cascade;',
  t.oid::regclass,
  string_agg(distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end, ', '))
from pg_class as t
cross join aclexplode(t.relacl) as a
where t.relnamespace = to_regnamespace(%(home)s) and t.relname = any (%(tables)s)
  and a.grantee <> t.relowner
  and pg_has_role(t.relowner, 'usage')
group by t.oid
"""
TABLES = "select relname from pg_class where relnamespace = to_regnamespace(%s)"

# Why a session is read-only, and what to do.
READ_ONLY = """
select case
  when pg_is_in_recovery() then 'this is a standby: set MIGRATION_DATABASE_URL to the primary'
  when source = 'client'
    then format('PGOPTIONS or the options in MIGRATION_DATABASE_URL set %s: remove it', name)
  else format(
    '%1$s is on (set by: %2$s): in psql, set %1$s = off; %3$s reset %1$s; select pg_reload_conf()',
    name, source, case source
      when 'database' then format('alter database %I', current_database())
      when 'user' then format('alter role %I', current_user)
      when 'database user' then format('alter role %I in database %I', current_user, current_database())
      else 'alter system'
    end)
end
from pg_settings
where name = 'default_transaction_read_only'
"""

# The owners of what the migrations created, if this role does not have their rights, and this role.
OTHER_OWNERS = """
select string_agg(distinct o.owner::regrole::text, ', '), current_user
from (
  select nspowner from pg_namespace where nspname in ('app', 'audit')
  union all
  select relowner from pg_class
  where relnamespace = to_regnamespace('app') and relkind in ('r', 'p')
    or relnamespace = to_regnamespace(%(home)s) and relname = any (%(tables)s)
) as o (owner)
where not pg_has_role(o.owner, 'usage')
having count(*) > 0
"""
# The statements that give this role what it lacks to create the records, the schemas and tasks_api.
MISSING = """
select string_agg(statement, '; ')
from (
  select format('grant create on schema %%s to %%I', %(home)s::text, current_user)
  where not has_schema_privilege(to_regnamespace(%(home)s), 'create') and not exists (
    select from pg_class where relnamespace = to_regnamespace(%(home)s) and relname = any (%(tables)s)
  )
  union all
  select format('grant create on database %%I to %%I', current_database(), current_user)
  where not has_database_privilege(current_database(), 'create')
  union all
  select format('alter role %%I createrole', current_user)
  where to_regnamespace('app') is null
    and not exists (select from pg_roles where rolname = current_user and (rolsuper or rolcreaterole))
) as missing (statement)
having count(*) > 0
"""

SHADOWED = (
    "schema {0}: this command would use {1}, which could run code with the rights of the role that it "
    "connects as; drop or rename these objects, or change their owner; or create a schema for the records of "
    "the migrations, and set it as the search_path of this role"
)
OWNED = (
    "schema app: it, or a table or function in it, belongs to role {0}, which could run code with the rights "
    "of the role that this command connects as; if {0} has migrated this database, connect as {0}; otherwise "
    "rename or drop the schema, or change the owner"
)
UNRECORDED = (
    ", and no record says that a migration created it; if it is empty, drop it; if it is from a dump, restore"
    " the tables _yoyo_migration, _yoyo_log and _yoyo_version, too"
)
NOT_OWNED = (
    "; objects of the migrations belong to role {owners}: connect as that role; or, after a restore, restore "
    "again as {user}: pg_restore --no-owner --role={user}"
)
NOT_GRANTED = "; as a superuser, in this database, run: {}"
POOLER = (
    "MIGRATION_DATABASE_URL: connects to a pooler, which would keep the lock of this session; "
    "set it to the host of PostgreSQL itself (on Neon the one without -pooler)"
)


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """yoyo's backend for PostgreSQL, with any connection string of libpq.

    yoyo's manual has apply_migrations() and rollback_migrations(), which commit a migration and its record
    separately. This class calls yoyo's single steps instead. tests/server/test_canaries.py fails if yoyo
    changes them.
    """

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        super().__init__(parse_uri("postgresql+psycopg:"), "_yoyo_migration")

    def connect(self, _: object) -> psycopg.Connection[Any]:
        """Connect, and refuse a pooler. yoyo's own URLs cannot express all connection strings of libpq."""
        connection = self._connect()
        (process,) = connection.execute("select pg_backend_pid()").fetchone() or (0,)
        if process != connection.info.backend_pid and not self._has_own_session():
            connection.close()
            raise SystemExit(POOLER)
        connection.execute(SETTINGS)
        connection.execute(UNLIMIT)
        self.names = _names(connection)
        self.home = self.names["home"]
        return connection

    def quote_identifier(self, name: str) -> str:
        """Quote a name for yoyo's statements, the name of a table of yoyo with its schema.

        The search_path contains only pg_catalog, so yoyo's statements use no operator or function that
        another role has created in the schema of the tables (CVE-2018-1058).
        """
        quoted: str = super().quote_identifier(name)
        return f"{self.home}.{quoted}" if name in YOYO else quoted

    def list_tables(self, **_: object) -> list[str]:
        """Return the names of the tables in the schema of yoyo's tables."""
        return [name for (name,) in self.connection.execute(TABLES, (self.home,))]

    def prepare(self) -> None:
        """Create yoyo's tables, and withhold them from other roles. Refuse code of other roles."""
        self._refuse_code_of_others()
        self.ensure_internal_schema_updated()
        for (statement,) in self.connection.execute(GRANTED, self.names).fetchall():
            self.connection.execute(statement.encode())
            print(f"repaired: {statement}")
        self._refuse_code_of_others()

    def _refuse_code_of_others(self) -> None:
        (owners,) = self.connection.execute(OWNERS, self.names).fetchone() or (None,)
        (shadows,) = self.connection.execute(SHADOWS, self.names).fetchone() or (None,)
        if owners or shadows:
            raise SystemExit(OWNED.format(owners) if owners else SHADOWED.format(self.home, shadows))

    def _connect(self, options: str | None = None) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self.conninfo,
            autocommit=True,
            application_name="tasks migrations",
            client_encoding="utf8",
            options=options,
        )

    def _has_own_session(self) -> bool:
        """Return whether a proxy in front of the server opens a new session for each client.

        A pooler reuses sessions, so a setting in the start-up packet is refused or has no effect. Neon's
        proxy opens a session on its direct host, although it sends a process id of its own, as poolers do.
        """
        given = conninfo_to_dict(self.conninfo).get("options") or os.environ.get("PGOPTIONS", "")
        try:
            with self._connect(f"{given} -c app.session=own") as connection:
                row = connection.execute("select current_setting('app.session', true)").fetchone()
        except psycopg.OperationalError:
            return False
        return row == ("own",)

    @contextmanager
    def lock(self, timeout: int = 60) -> Iterator[None]:
        """Wait up to `timeout` seconds for another deploy; then hold the lock until the session ends."""
        self.execute(
            "select pg_catalog.set_config('lock_timeout', :timeout, false)", {"timeout": f"{timeout}s"}
        )
        try:
            self.execute(LOCK)
        except psycopg.errors.LockNotAvailable:
            holder = self.connection.execute(HOLDER).fetchone() or ("gone by now",)
            raise SystemExit(
                f"another deploy has been migrating this database for {timeout} seconds: {holder[0]}"
            ) from None
        yield

    def run(self, migration: Migration, direction: str) -> None:
        """Apply or roll back one migration and record this, in one transaction."""
        try:
            with self.transaction():
                migration.process_steps(self, direction)
                (self.mark_one if direction == "apply" else self.unmark_one)(migration, log=False)
                self.log_migration(migration, direction)
        except psycopg.Error as error:
            raise SystemExit(
                f"{migration.id}: {_explained(error, self.conninfo)}. The migration was rolled back."
            ) from None


def _names(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return the parameters of the queries above. Set the search_path of the session to pg_catalog."""
    (trusted,) = connection.execute(TRUSTED).fetchone() or ([],)
    home = _home(connection, trusted)
    connection.execute("set search_path = pg_catalog")
    return {"home": home, "tables": YOYO, "trusted": trusted}


def _home(connection: psycopg.Connection[Any], trusted: list[int]) -> str:
    """Return the schema, quoted, in which yoyo records these migrations, whatever the search_path is."""
    names = [file.stem for file in DIRECTORY.iterdir()]
    for (schema,) in connection.execute(RECORDS, (trusted,)).fetchall():
        table = Identifier(schema, "_yoyo_migration")
        applied = SQL("select 1 from {} where migration_id operator(pg_catalog.=) any (%s)").format(table)
        if connection.execute(applied, (names,)).rowcount:
            return Identifier(schema).as_string()
    (schema,) = connection.execute(FIRST_OF_PATH, (trusted,)).fetchone() or ("public",)
    return Identifier(schema).as_string()


def migrate(conninfo: str) -> None:
    """Apply the pending migrations, oldest first. Repair the role tasks_api even if none is pending."""
    with _locked(conninfo) as (backend, migrations):
        role.repair(backend.connection)
        pending = backend.to_apply(migrations)
        for migration in pending:
            backend.run(migration, "apply")
            print(f"applied {migration.id}")
        role.restore_access(backend.connection, safety.SCHEMA_VERSION)
        if not pending:
            print("nothing to apply: the database is up to date")


def rollback(conninfo: str) -> None:
    """Roll back the newest applied migration. It drops rows only if DROP_ROWS is yes."""
    with _locked(conninfo) as (backend, migrations):
        drop_rows = {"drop_rows": os.environ.get("DROP_ROWS", "no")}
        backend.execute("select pg_catalog.set_config('app.drop_rows', :drop_rows, false)", drop_rows)
        applied = backend.to_rollback(migrations)
        if not applied:
            raise SystemExit("nothing to roll back: no migration is applied")
        backend.run(applied[0], "rollback")
        print(f"rolled back {applied[0].id}")


def show(conninfo: str) -> None:
    """List the migrations, each as applied or pending."""
    with _locked(conninfo) as (backend, migrations):
        applied = backend.get_applied_migration_hashes()
        for migration in migrations:
            print(f"{'applied' if migration.hash in applied else 'pending':8} {migration.id}")


@contextmanager
def _locked(conninfo: str) -> Iterator[tuple[Backend, MigrationList]]:
    try:
        with Backend(conninfo) as backend, backend.lock():
            backend.prepare()
            yield backend, read_migrations(str(DIRECTORY))
    except psycopg.Error as error:
        raise SystemExit(f"MIGRATION_DATABASE_URL: {_explained(error, conninfo)}") from None


def _explained(error: psycopg.Error, conninfo: str) -> str:
    """Return PostgreSQL's error in one line, with a remedy if one is known."""
    message = first_message(error)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        with suppress(psycopg.Error), psycopg.connect(conninfo) as connection:
            for (reason,) in connection.execute(READ_ONLY):
                message += f", since {reason}"
    if isinstance(error, psycopg.errors.DuplicateSchema):
        message += UNRECORDED
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        with suppress(psycopg.Error), psycopg.connect(conninfo, client_encoding="utf8") as connection:
            message += _remedy(connection)
    return message


def _remedy(connection: psycopg.Connection[Any]) -> str:
    """Return what to do if this role lacks a privilege that migrations need, else an empty string."""
    names = _names(connection)
    for owners, user in connection.execute(OTHER_OWNERS, names):
        return NOT_OWNED.format(owners=owners, user=user)
    for (statements,) in connection.execute(MISSING, names):
        return NOT_GRANTED.format(statements)
    return ""


def first_message(error: psycopg.Error) -> str:
    """Return PostgreSQL's first error in one line.

    After a lost connection yoyo tries to roll back, and its second error hides the first one.
    """
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    parts = (error.diag.message_primary or str(error), error.diag.message_detail, error.diag.message_hint)
    return ". ".join(" ".join(part.split()).removesuffix(".") for part in parts if part)
