"""Repairs the settings, attributes, memberships, policies and grants of tasks_api at every `make migrate`.

Migrations are not enough. A role and its settings belong to the server, so a dump contains neither. If a dump
is restored before the role exists, its policies and grants are lost, too. A role may also change its own
settings: SQL that runs as tasks_api can remove the time limits of all later sessions. The expected state is
read from sql/schema.sql.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.errors import DuplicateObject, InsufficientPrivilege, InternalError_, UniqueViolation

from app.postgres.safety import SQL

SCHEMA = SQL / "schema.sql"

STATEMENT = re.compile(
    r"^(?:(?:create|alter|comment on) role|(?:create|comment on) policy|grant|revoke)\b.*?;$",
    re.MULTILINE | re.DOTALL,
)
OF_ROLE = re.compile(r"(?:create|alter|comment on) role")
SETTING = re.compile(r"alter role \S+ set (\S+) = '(.*)';")
POLICY = re.compile(r"create policy (\S+) on (\S+)")
GRANT = re.compile(
    r"(grant|revoke)\s+(.+?)\s+on (?:(schema|function) )?([\w.]+(?:\([^)]*\))?)\s+(?:to|from) (\w+);",
    re.DOTALL,
)
PRIVILEGE = re.compile(r"(\w+)(?: \(([^)]*)\))?")

HAS_SCHEMA = "select 1 from pg_namespace where nspname = 'app'"
HAS_ROLE = "select 1 from pg_roles where rolname = 'tasks_api'"
HAS_SETTING = """
select 1 from pg_db_role_setting
where setrole = 'tasks_api'::regrole and setdatabase = 0 and setconfig @> array[%s::text || '=' || %s]
"""
HAS_POLICY = "select 1 from pg_policy where polname = %s and polrelid = %s::regclass"
HAS_PRIVILEGE = {
    "schema": "select 1 where has_schema_privilege(%(role)s, %(name)s, %(privilege)s)",
    "function": "select 1 where has_function_privilege(%(role)s, %(name)s, %(privilege)s)",
    None: "select 1 where has_table_privilege(%(role)s, %(name)s, %(privilege)s)",
    "column": """
select 1 from unnest(%(columns)s::text[]) as c (name)
having bool_and(has_column_privilege(%(role)s, %(name)s, c.name, %(privilege)s))
""",
}

# Attributes and memberships that the role must not have, and settings that the code relies on. A setting of
# the role in this database overrides the role's own. Settings of a whole database or server are left to their
# owner.
EXCESS = """
select format('alter role tasks_api no%%s;', attribute.name)
from pg_roles
cross join lateral (values
  ('superuser', rolsuper), ('bypassrls', rolbypassrls), ('createrole', rolcreaterole),
  ('createdb', rolcreatedb), ('replication', rolreplication)) as attribute (name, is_set)
where rolname = 'tasks_api' and attribute.is_set
union all
select format('revoke %%s from tasks_api%%s;', m.roleid::regrole, ' granted by ' || quote_ident(g.rolname))
from pg_auth_members as m
left join pg_roles as g on g.oid = m.grantor
where m.member = 'tasks_api'::regrole
union all
select format('alter role tasks_api%%s reset %%s;', ' in database ' || quote_ident(d.datname), setting.name)
from pg_db_role_setting as s
left join pg_database as d on d.oid = s.setdatabase
cross join unnest(s.setconfig) as c (entry)
cross join split_part(c.entry, '=', 1) as setting (name)
where s.setrole = 'tasks_api'::regrole
  and (s.setdatabase = 0 or d.datname = current_database())
  and (
    s.setdatabase <> 0 and lower(setting.name) = any (%(set)s)
    or lower(setting.name) in ('role', 'app.user_id', 'session_replication_role',
      'default_transaction_read_only', 'transform_null_equals', 'lo_compat_privileges')
    -- sql/schema.sql sets no transaction_timeout. With one below a second the API does not start.
    or lower(c.entry) ~ '^transaction_timeout= *0*[1-9][0-9]{0,2} *(ms)? *$'
  )
"""

REFUSED = """MIGRATION_DATABASE_URL: its role may not repair tasks_api.
Run as a superuser, or as the role that created tasks_api:"""
CREATED = "tasks_api may not log in yet. In psql: \\password tasks_api, then alter role tasks_api login;"
ATTEMPTS = 3  # the deploy of another database on the same server may change the role concurrently


def repair(connection: Connection[Any]) -> None:
    """Create the role if it is missing; repair its settings, attributes and memberships."""
    with _in_catalog(connection):
        if not connection.execute(HAS_SCHEMA).rowcount:
            return
        statements = [s for s in STATEMENT.findall(SCHEMA.read_text(encoding="utf-8")) if OF_ROLE.match(s)]
        _run(connection, _missing(connection, statements))
        settings = [name.lower() for s in statements for name, _ in SETTING.findall(s)]
        excess = connection.execute(EXCESS, {"set": settings}).fetchall()
        _run(connection, (statement for (statement,) in excess))


def restore_access(connection: Connection[Any], version: int) -> None:
    """Create missing policies and grants of the role, if the schema has the version that this code needs."""
    with _in_catalog(connection):
        if not connection.execute(HAS_SCHEMA).rowcount:
            return
        if connection.execute("select app.schema_version()").fetchone() != (version,):
            return
        statements = STATEMENT.findall(SCHEMA.read_text(encoding="utf-8"))
        _run(connection, _missing(connection, [s for s in statements if not OF_ROLE.match(s)]), needed=True)


@contextmanager
def _in_catalog(connection: Connection[Any]) -> Iterator[None]:
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog; set local lock_timeout = '5s'")
        yield


def _missing(connection: Connection[Any], statements: Iterable[str]) -> Iterator[str]:
    """Yield each statement whose effect is missing, and the comment on the object that it creates."""
    was_missing = False
    for statement in statements:
        if not statement.startswith("comment"):
            was_missing = not _holds(connection, statement)
        if was_missing:
            yield statement


def _holds(connection: Connection[Any], statement: str) -> bool:
    """Return whether a statement of sql/schema.sql would change nothing."""

    def finds(query: str, values: Sequence[str] | Mapping[str, object] = ()) -> bool:
        return connection.execute(query.encode(), values).rowcount > 0

    if setting := SETTING.match(statement):
        return finds(HAS_SETTING, setting.groups())
    if policy := POLICY.match(statement):
        return finds(HAS_POLICY, policy.groups())
    if grant := GRANT.match(statement):
        verb, privileges, kind, name, role = grant.groups()
        values = {"role": role, "name": name}
        held = [
            finds(
                HAS_PRIVILEGE["column" if columns else kind],
                values | {"privilege": privilege, "columns": columns.split(", ")},
            )
            for privilege, columns in PRIVILEGE.findall(privileges)
        ]
        return all(held) if verb == "grant" else not any(held)
    return finds(HAS_ROLE)


def _run(connection: Connection[Any], statements: Iterable[str], *, needed: bool = False) -> None:
    """Run and print each statement, and print those that this role may not run.

    End the process if a statement is needed that this role may not run.
    """
    refused = []
    for statement in statements:
        line = " ".join(statement.split())
        if _may_run(connection, statement):
            print(f"repaired: {line}")
        else:
            refused.append(line)
        if line.startswith("create role"):
            if refused:
                break
            print(CREATED)
    if refused:
        message = "\n  ".join([REFUSED, *refused])
        if needed or refused[0].startswith("create role"):
            raise SystemExit(message)
        print(message, file=sys.stderr)


def _may_run(connection: Connection[Any], statement: str) -> bool:
    for _ in range(ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(statement.encode())
        except InsufficientPrivilege:
            return False
        except (DuplicateObject, UniqueViolation):
            return True
        except InternalError_:
            continue
        return True
    return False
