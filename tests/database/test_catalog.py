"""The access model: what PostgreSQL's catalogs must contain after all migrations.

A migration that changes the access model must also change the constants in this file.
"""

from collections.abc import Iterator

import psycopg
import pytest
from conftest import Server
from support.contract import EXAMPLES

from app.api import schemas, statements

OWN_ID = "(id = app.current_user_id())"
OWN = "(user_id = app.current_user_id())"
MINE = "pg_has_role(SESSION_USER, 'pg_database_owner'::name, 'usage'::text)"
EXPIRED = "((user_id = app.current_user_id()) AND (created_at < (now() - '24:00:00'::interval)))"

# table, policy, command, permissive, roles, using, with check
POLICIES = {
    ("users", "select_own", "SELECT", "PERMISSIVE", "{tasks_api}", OWN_ID, None),
    ("users", "insert_own", "INSERT", "PERMISSIVE", "{tasks_api}", None, OWN_ID),
    ("users", "update_own", "UPDATE", "PERMISSIVE", "{tasks_api}", OWN_ID, OWN_ID),
    ("tasks", "select_own", "SELECT", "PERMISSIVE", "{tasks_api}", OWN, None),
    ("tasks", "insert_own", "INSERT", "PERMISSIVE", "{tasks_api}", None, OWN),
    ("tasks", "update_own", "UPDATE", "PERMISSIVE", "{tasks_api}", OWN, OWN),
    ("tasks", "delete_own", "DELETE", "PERMISSIVE", "{tasks_api}", OWN, None),
    ("idempotency_keys", "select_own", "SELECT", "PERMISSIVE", "{tasks_api}", OWN, None),
    ("idempotency_keys", "insert_own", "INSERT", "PERMISSIVE", "{tasks_api}", None, OWN),
    ("idempotency_keys", "delete_expired", "DELETE", "PERMISSIVE", "{tasks_api}", EXPIRED, None),
    *(
        (table, "select_all", "SELECT", "PERMISSIVE", "{pg_database_owner}", MINE, None)
        for table in ("users", "tasks", "idempotency_keys")
    ),
    ("users", "delete_named", "DELETE", "PERMISSIVE", "{pg_database_owner}", f"({OWN_ID} AND {MINE})", None),
    (
        "idempotency_keys",
        "delete_all_expired",
        "DELETE",
        "PERMISSIVE",
        "{pg_database_owner}",
        f"((created_at < (now() - '24:00:00'::interval)) AND {MINE})",
        None,
    ),
}

# table, privilege, column or None for the whole table
GRANTS = {
    ("users", "SELECT", None),
    ("users", "INSERT", "id"),
    ("users", "UPDATE", "last_task_id"),
    ("tasks", "SELECT", None),
    *(("tasks", privilege, column) for privilege in ("INSERT", "UPDATE") for column in statements.COLUMNS),
    ("tasks", "DELETE", None),
    ("idempotency_keys", "SELECT", None),
    ("idempotency_keys", "INSERT", "key"),
    ("idempotency_keys", "INSERT", "task"),
    ("idempotency_keys", "DELETE", None),
}

# table, column, type, collation, not null, default
COLUMNS = {
    ("users", "id", "text", "C", True, None),
    ("users", "last_task_id", "bigint", None, True, "1"),
    ("users", "created_at", "timestamp with time zone", None, True, "now()"),
    ("tasks", "id", "bigint", None, True, "app.next_task_id()"),
    ("tasks", "user_id", "text", "C", True, "app.current_user_id()"),
    ("tasks", "title", "text", "default", True, None),
    ("tasks", "description", "text", "default", False, None),
    ("tasks", "completed", "boolean", None, True, "false"),
    ("tasks", "version", "integer", None, True, "1"),
    ("tasks", "created_at", "timestamp with time zone", None, True, "clock_timestamp()"),
    ("tasks", "updated_at", "timestamp with time zone", None, True, None),
    ("tasks", "priority", "text", "default", True, "'medium'::text"),
    ("tasks", "due_date", "timestamp without time zone", None, False, None),
    ("tasks", "category", "text", "default", False, None),
    ("tasks", "tags", "text[]", "default", True, "'{}'::text[]"),
    ("idempotency_keys", "user_id", "text", "C", True, "app.current_user_id()"),
    ("idempotency_keys", "key", "text", "C", True, None),
    ("idempotency_keys", "task", "json", None, True, None),
    ("idempotency_keys", "created_at", "timestamp with time zone", None, True, "now()"),
}

CONSTRAINTS = {
    "users_pkey": "PRIMARY KEY (id)",
    "users_id_length": "CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255)))",
    "tasks_pkey": "PRIMARY KEY (user_id, id)",
    "tasks_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES app.users(id) ON DELETE CASCADE",
    "tasks_title_trimmed": "CHECK ((title = app.trimmed(title)))",
    "tasks_title_length": "CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200)))",
    "tasks_description_length": "CHECK ((char_length(description) <= 1000))",
    "tasks_priority_word": (
        "CHECK ((priority = ANY (ARRAY["
        "'none'::text, 'low'::text, 'medium'::text, 'high'::text, 'urgent'::text])))"
    ),
    "tasks_due_date_range": (
        "CHECK (((due_date >= '0001-01-01 00:00:00'::timestamp without time zone)"
        " AND (due_date <= '9999-12-31 23:59:59'::timestamp without time zone)))"
    ),
    "tasks_due_date_seconds": "CHECK ((due_date = date_trunc('second'::text, due_date)))",
    "tasks_category_trimmed": "CHECK ((category = app.trimmed(category)))",
    "tasks_category_lower": "CHECK ((category = lower(category)))",
    "tasks_category_length": "CHECK (((char_length(category) >= 1) AND (char_length(category) <= 50)))",
    "tasks_tags_count": "CHECK ((cardinality(tags) <= 20))",
    "tasks_tags_words": "CHECK (((tags = '{}'::text[]) OR app.are_tags(tags)))",
    "idempotency_keys_pkey": "PRIMARY KEY (user_id, key)",
    "idempotency_keys_user_id_fkey": "FOREIGN KEY (user_id) REFERENCES app.users(id) ON DELETE CASCADE",
    "idempotency_keys_key_format": r"CHECK ((key ~ '^[\x20-\x7e]{1,255}$'::text))",
}

INDEXES = {
    "users_pkey": ["id"],
    "tasks_pkey": ["user_id", "id"],
    "tasks_by_status": ["user_id", "completed", "id"],
    "idempotency_keys_pkey": ["user_id", "key"],
    "idempotency_keys_by_age": ["user_id", "created_at"],
}

BEFORE_EACH = "CREATE TRIGGER {0} BEFORE {1} ON app.{2} FOR EACH ROW WHEN ({3}) EXECUTE FUNCTION app.{4}()"
TRIGGERS = {
    "users_last_task_id_counts": BEFORE_EACH.format(
        "users_last_task_id_counts",
        "UPDATE",
        "users",
        "(new.last_task_id IS DISTINCT FROM (old.last_task_id + 1))",
        "refuse_recount",
    ),
    "tasks_stamp": BEFORE_EACH.format(
        "tasks_stamp", "INSERT", "tasks", "(new.updated_at IS NULL)", "stamp_task"
    ),
    "tasks_touch": BEFORE_EACH.format(
        "tasks_touch", "UPDATE", "tasks", "(old.* IS DISTINCT FROM new.*)", "touch_task"
    ),
}

ROLE_SETTINGS = {
    "statement_timeout=5s",
    "lock_timeout=2s",
    "idle_in_transaction_session_timeout=10s",
    "TimeZone=UTC",
    "search_path=pg_catalog",
    "client_encoding=UTF8",
    "DateStyle=ISO, MDY",
    "default_transaction_isolation=read committed",
    "standard_conforming_strings=on",
    "row_security=on",
}

UNDESCRIBED = """
with thing (catalog, oid, part, name) as (
  select 'pg_namespace'::regclass, oid, 0, nspname::text from pg_namespace where nspname = 'app'
  union all
  select 'pg_class'::regclass, c.oid, 0, c.relname::text
  from pg_class as c
  where c.relnamespace = 'app'::regnamespace
    and not exists (select from pg_constraint as k where k.conindid = c.oid)
  union all
  select 'pg_class'::regclass, c.oid, a.attnum, c.relname || '.' || a.attname
  from pg_class as c
  join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
  union all
  select 'pg_policy'::regclass, p.oid, 0, p.polname || ' on ' || c.relname
  from pg_policy as p
  join pg_class as c on c.oid = p.polrelid
  where c.relnamespace = 'app'::regnamespace
  union all
  select 'pg_proc'::regclass, oid, 0, oid::regprocedure::text
  from pg_proc
  where pronamespace = 'app'::regnamespace
  union all
  select 'pg_trigger'::regclass, t.oid, 0, t.tgname::text
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid
  where c.relnamespace = 'app'::regnamespace and not t.tgisinternal
)
select name
from thing
where not exists (
  select from pg_description as d
  where d.classoid = thing.catalog and d.objoid = thing.oid and d.objsubid = thing.part
)
union all
select rolname
from pg_roles
where rolname = 'tasks_api' and shobj_description(oid, 'pg_authid') is null
"""

# The privileges of all roles except the owner.
PRIVILEGES = """
select c.relname, a.privilege_type, null as "column", a.grantee::regrole::text, a.is_grantable
from pg_class as c
cross join aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as a
where c.relnamespace = 'app'::regnamespace and c.relkind <> 'i' and a.grantee <> c.relowner
union all
select c.relname, a.privilege_type, t.attname, a.grantee::regrole::text, a.is_grantable
from pg_class as c
join pg_attribute as t on t.attrelid = c.oid
cross join aclexplode(t.attacl) as a
where c.relnamespace = 'app'::regnamespace and a.grantee <> c.relowner
"""

FUNCTION_PRIVILEGES = """
select p.proname, p.prorettype = 'trigger'::regtype, a.grantee::regrole::text, a.is_grantable
from pg_proc as p
left join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a on a.grantee <> p.proowner
where p.pronamespace = 'app'::regnamespace
"""

# The columns of every relation in the schema, including relations that are not tables.
COLUMNS_OF = """
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), l.collname, a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid)
from pg_attribute as a
join pg_class as c on c.oid = a.attrelid
left join pg_collation as l on l.oid = a.attcollation
left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = 'app'::regnamespace and c.relkind not in ('i', 'I')
  and a.attnum > 0 and not a.attisdropped
"""

INDEXES_OF = """
select c.relname, array_agg(a.attname::text order by k.place)
from pg_index as i
join pg_class as c on c.oid = i.indexrelid
cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
left join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
where c.relnamespace = 'app'::regnamespace
group by c.relname
"""


@pytest.fixture
def owner(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """The superuser, in a transaction that is rolled back."""
    with server.connect(database) as connection, connection.transaction(force_rollback=True):
        yield connection


def rows(owner: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return owner.execute(query.encode()).fetchall()


def test_every_table_has_row_security_enabled_and_forced(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select relname, relrowsecurity, relforcerowsecurity from pg_class "
        "where relnamespace = 'app'::regnamespace and relkind not in ('i', 'I', 'c')",
    )
    assert sorted(found) == [(name, True, True) for name in ("idempotency_keys", "tasks", "users")]


def test_the_tables_have_exactly_these_policies(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select tablename, policyname, cmd, permissive, roles::text, qual, with_check from pg_policies "
        "where schemaname = 'app'",
    )
    assert set(found) == POLICIES


def test_no_policy_contains_a_subquery(owner: psycopg.Connection) -> None:
    assert not rows(
        owner, "select polname from pg_policy where concat(polqual, polwithcheck) like '%SUBLINK%'"
    )


def test_the_role_has_exactly_these_privileges_on_tables(owner: psycopg.Connection) -> None:
    assert set(rows(owner, PRIVILEGES)) == {(*grant, "tasks_api", False) for grant in GRANTS}


def test_only_the_role_may_execute_functions_except_trigger_functions(owner: psycopg.Connection) -> None:
    found = rows(owner, FUNCTION_PRIVILEGES)
    assert found
    for name, is_trigger, grantee, grantable in found:
        assert (name, grantee, grantable) == (name, *((None, None) if is_trigger else ("tasks_api", False)))


def test_only_the_role_may_use_the_schema(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select a.grantee::regrole::text, a.privilege_type, a.is_grantable from pg_namespace as n "
        "cross join aclexplode(n.nspacl) as a where n.nspname = 'app' and a.grantee <> n.nspowner",
    )
    assert found == [("tasks_api", "USAGE", False)]


def test_there_are_no_default_privileges(owner: psycopg.Connection) -> None:
    assert not rows(owner, "select defaclrole::regrole from pg_default_acl")


def test_every_object_has_a_comment(owner: psycopg.Connection) -> None:
    assert not rows(owner, UNDESCRIBED)


def test_the_tables_have_exactly_these_columns(owner: psycopg.Connection) -> None:
    assert set(rows(owner, COLUMNS_OF)) == COLUMNS


def test_the_tables_have_exactly_these_constraints(owner: psycopg.Connection) -> None:
    found = owner.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint "
        "where connamespace = 'app'::regnamespace and contype <> 'n' and convalidated"
    )
    assert dict(found) == CONSTRAINTS


def test_every_constraint_is_validated(owner: psycopg.Connection) -> None:
    assert not rows(owner, "select conname from pg_constraint where not convalidated")


def test_columns_that_users_write_have_no_statistics(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select attrelid::regclass::text, attname from pg_attribute where coalesce(attstattarget, -1) <> 0 "
        "and attnum > 0 and attrelid in (select oid from pg_class where relnamespace = 'app'::regnamespace) "
        "and has_column_privilege('tasks_api', attrelid, attnum, 'insert, update')",
    )
    assert set(found) == {("app.users", "id"), ("app.users", "last_task_id"), ("app.tasks", "completed")}


# The columns that clients may set: default, checks, whether a comment exists, statistics target.
OF_COLUMNS = """
select a.attname, pg_get_expr(d.adbin, d.adrelid),
  array(
    select k.conname::text from pg_constraint as k where k.conrelid = a.attrelid and a.attnum = any(k.conkey)
  ),
  col_description(a.attrelid, a.attnum) is not null, coalesce(a.attstattarget, -1)
from pg_attribute as a
left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = 'app.tasks'::regclass and a.attnum > 0 and not a.attisdropped
  and has_column_privilege('tasks_api', a.attrelid, a.attnum, 'insert')
  and has_column_privilege('tasks_api', a.attrelid, a.attnum, 'update')
"""


def test_each_column_that_clients_set_has_checks_a_comment_grants_a_type_examples_and_no_statistics(
    owner: psycopg.Connection,
) -> None:
    found = rows(owner, OF_COLUMNS)
    assert {str(column) for column, *_ in found} == set(statements.COLUMNS)
    assert list(schemas.TaskChanges.__annotations__) == list(statements.COLUMNS)
    assert list(EXAMPLES) == list(statements.COLUMNS)
    for column, default, checks, described, target in found:
        wanted = statements.COLUMNS[str(column)].default
        assert owner.execute(
            f"select {default or 'null'} is not distinct from {wanted or 'null'}"
        ).fetchone() == (True,)
        named = [check for check in checks if not check.endswith(("_not_null", "_pkey"))]  # type: ignore[attr-defined]
        assert described, column
        if column != "completed":  # a boolean needs no check, and its statistics reveal nothing
            assert named, column
            assert all(name.startswith(f"tasks_{column}_") for name in named), named
            assert target == 0, column


def test_the_user_is_the_first_column_of_every_key_and_index(owner: psycopg.Connection) -> None:
    found: dict[str, list[str]] = dict(owner.execute(INDEXES_OF.encode()))
    assert found == INDEXES
    assert all(columns[0] == "user_id" for name, columns in found.items() if name != "users_pkey")


def test_the_tables_have_exactly_these_triggers(owner: psycopg.Connection) -> None:
    found = owner.execute(
        "select tgname, pg_get_triggerdef(t.oid), tgenabled from pg_trigger as t "
        "join pg_class as c on c.oid = tgrelid "
        "where relnamespace = 'app'::regnamespace and not tgisinternal"
    )
    assert {(name, said, enabled) for name, said, enabled in found} == {(*t, "O") for t in TRIGGERS.items()}


def test_no_table_has_a_rule_or_a_child(owner: psycopg.Connection) -> None:
    app = "(select oid from pg_class where relnamespace = 'app'::regnamespace)"
    assert not rows(owner, f"select rulename from pg_rewrite where ev_class in {app}")
    assert not rows(owner, f"select inhrelid::regclass from pg_inherits where inhparent in {app}")


def test_every_function_is_security_invoker_and_not_leakproof(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select prosecdef, proleakproof, proconfig::text from pg_proc "
        "where pronamespace = 'app'::regnamespace",
    )
    # PL/pgSQL looks up names at run time. Other functions have parsed bodies or qualified names.
    assert set(found) == {(False, False, None), (False, False, "{search_path=pg_catalog}")}


def test_the_functions_have_the_right_volatility(owner: psycopg.Connection) -> None:
    found: dict[str, str] = dict(
        owner.execute("select proname, provolatile from pg_proc where pronamespace = 'app'::regnamespace")
    )
    expected = {"current_user_id": "s", "next_task_id": "v", "schema_version": "i", "trimmed": "i"}
    assert found | expected == found


def test_the_role_has_no_attribute_except_login(owner: psycopg.Connection) -> None:
    found = rows(
        owner,
        "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls from pg_roles "
        "where rolname = 'tasks_api'",
    )
    assert found == [(False,) * 5]


def test_the_role_is_a_member_of_no_role(owner: psycopg.Connection) -> None:
    assert not rows(owner, "select roleid::regrole from pg_auth_members where member = 'tasks_api'::regrole")


def test_the_role_owns_nothing(owner: psycopg.Connection) -> None:
    assert not rows(
        owner,
        "select classid::regclass, objid from pg_shdepend "
        "where refclassid = 'pg_authid'::regclass and refobjid = 'tasks_api'::regrole and deptype = 'o'",
    )


def test_the_role_has_these_limits(owner: psycopg.Connection) -> None:
    [(found,)] = rows(
        owner,
        "select setconfig from pg_db_role_setting where setrole = 'tasks_api'::regrole and setdatabase = 0",
    )
    assert set(found) == ROLE_SETTINGS  # type: ignore[call-overload]  # an array of text


def test_no_database_sets_anything_for_the_role(owner: psycopg.Connection) -> None:
    assert not rows(
        owner,
        "select setconfig from pg_db_role_setting "
        "where setdatabase <> 0 and setrole in (0, 'tasks_api'::regrole)",
    )
