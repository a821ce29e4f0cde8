"""prove.sql detects broken isolation for every role that may run it, and leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from conftest import Server
from psycopg import sql
from support.holes import planted

from app.commands import migrations, reports
from app.postgres.safety import SQL

TRACES = """
select (select count(*) from app.users), (select count(*) from app.tasks),
  (select count(*) from app.idempotency_keys),
  (select array_agg(rolname order by rolname) from pg_roles),
  (select array_agg(m::text order by m::text) from pg_auth_members as m),
  (select count(*) from pg_class), (select count(*) from pg_proc), (select count(*) from pg_namespace),
  (select array_agg(relacl::text order by oid) from pg_class where relnamespace = 'app'::regnamespace)
"""


def results(connection: psycopg.Connection) -> dict[str, str]:
    """Run prove.sql in the open transaction, and return the result of each attempt."""
    script = (SQL / "prove.sql").read_text()
    script = script.replace("begin isolation level read committed read write;", "").replace("\nrollback;", "")
    attempts = next(r for r in connection.execute(script.encode()).results() if r.description)
    return {tried: result for tried, _, _, result in attempts}


def broken(connection: psycopg.Connection) -> list[str]:
    """Return the attempts that are BROKEN."""
    return [tried for tried, result in results(connection).items() if result == "BROKEN"]


@pytest.mark.parametrize("user", ["postgres", "tasks_api"])
def test_prove_finds_nothing_broken_after_the_migrations(server: Server, database: str, user: str) -> None:
    text, sound = reports.prove(server.conninfo(database, user))
    assert sound, text
    assert "none BROKEN" in text


@contextmanager
def migrator(server: Server) -> Iterator[str]:
    """A role with CREATEROLE that is not a superuser, to own a database."""
    name = f"migrator_{uuid4().hex[:8]}"
    role = sql.Identifier(name)
    with server.connect("postgres") as postgres:
        postgres.execute(sql.SQL("create role {} login createrole").format(role))
        if server.version != "15":  # on 15, CREATEROLE suffices to grant any role
            postgres.execute(
                sql.SQL("grant tasks_api to {} with admin true, inherit false, set false").format(role)
            )
        try:
            yield name
        finally:
            postgres.execute(sql.SQL("drop role {}").format(role))


def test_an_owner_without_superuser_can_run_prove(server: Server, template: str) -> None:
    assert template  # the role is there
    with migrator(server) as name, server.database() as database, server.connect(database) as postgres:
        postgres.execute(
            sql.SQL("alter database {} owner to {}").format(*map(sql.Identifier, (database, name)))
        )
        before_roles = postgres.execute("select m from pg_auth_members as m").fetchall()
        migrations.migrate(server.conninfo(database, name))
        before = postgres.execute(TRACES.encode()).fetchone()
        text, sound = reports.prove(server.conninfo(database, name))
        assert sound, text
        assert postgres.execute(TRACES.encode()).fetchone() == before
        assert postgres.execute("select m from pg_auth_members as m").fetchall() == before_roles


def test_a_role_that_may_not_become_the_api_role_gets_an_error(server: Server, database: str) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    with server.connect("postgres") as postgres:
        postgres.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        try:
            with pytest.raises(SystemExit, match=f"but {name} may not: run it as a superuser"):
                reports.prove(server.conninfo(database, name))
        finally:
            postgres.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_database_without_the_migrations_is_an_error(server: Server, template: str) -> None:
    assert template  # the role is there
    with pytest.raises(SystemExit, match="for the tasks API, run make migrate"):
        reports.prove(server.conninfo("postgres"))


@pytest.mark.parametrize("user", ["postgres", "tasks_api"])
def test_prove_changes_nothing(server: Server, clone: str, user: str) -> None:
    with server.connect(clone) as owner, server.connect(clone, user) as connection:
        before = owner.execute(TRACES.encode()).fetchone()
        connection.execute((SQL / "prove.sql").read_bytes())
        assert owner.execute(TRACES.encode()).fetchone() == before
        assert connection.info.transaction_status.name == "IDLE"
        left = (
            "select name from pg_prepared_statements union all select name from pg_cursors where name <> ''"
        )
        assert connection.execute(left.encode()).fetchall() == []
        assert connection.execute("select current_user, session_user").fetchone() == (user, user)
        assert connection.execute("show row_security").fetchone() == ("on",)


def test_prove_changes_no_row_of_a_real_user_even_if_every_policy_is_true(server: Server, clone: str) -> None:
    with server.connect(clone) as owner, server.connect(clone) as writer:
        owner.execute("insert into app.users (id, last_task_id) values ('dave', 3)")
        owner.execute(
            "insert into app.tasks (id, user_id, title) "
            "select n, 'dave', 'Buy milk' from generate_series(1, 3) as n"
        )
        for table in ("users", "tasks", "idempotency_keys"):
            owner.execute(f"create policy hole on app.{table} using (true) with check (true)".encode())
        with writer.transaction():
            # A statement that changed these rows would wait for this lock.
            writer.execute("select from app.tasks where user_id = 'dave' for update")
            writer.execute("select from app.users where id = 'dave' for update")
            text, sound = reports.prove(server.conninfo(clone))
        assert not sound
        assert "lock timeout" not in text
        assert "dave" not in text


# Pairs of a hole and an attempt that it must make BROKEN.
HOLES = [
    ("create policy hole on app.tasks using (true)", "alice reads bob's tasks"),
    ("create policy hole on app.tasks using (completed)", "alice reads bob's tasks"),
    ("create policy hole on app.tasks using (description is null)", "alice reads bob's tasks"),
    ("alter policy delete_own on app.tasks using (true)", "carol deletes all tasks"),
    (
        "alter policy delete_expired on app.idempotency_keys using (true)",
        "nobody deletes all idempotency keys",
    ),
    ("alter policy update_own on app.tasks using (true)", "carol, who has no task, changes all tasks"),
    ("alter policy update_own on app.users using (true)", "carol sets all counters"),
    (
        "create policy hole on app.tasks using (user_id like app.current_user_id())",
        "a user named percent reads tasks",
    ),
    (
        "create policy hole on app.tasks using (lower(user_id) = lower(app.current_user_id()))",
        "a user named bob in upper case reads tasks",
    ),
    (
        "create policy hole on app.tasks using (starts_with(user_id, app.current_user_id()))",
        "a user named bob without the last letter reads tasks",
    ),
    (
        "create policy hole on app.tasks using (user_id = any (string_to_array(app.current_user_id(), ',')))",
        "a user named bob and alice at once reads tasks",
    ),
    (
        "create policy hole on app.tasks using (user_id = coalesce(app.current_user_id(), user_id))",
        "nobody reads tasks after alice and bob",
    ),
    (
        """
        create or replace function app.current_user_id() returns text language sql stable
        return trim(current_setting('app.user_id', true))
        """,
        "a user named bob and a space reads tasks",
    ),
    (
        """
        grant update (user_id) on app.tasks to tasks_api;
        create policy hole on app.tasks for update using (true)
        """,
        "alice makes herself the owner of bob's tasks",
    ),
    ("alter table app.tasks disable row level security", "alice counts all tasks"),
    ("grant truncate on app.tasks to tasks_api", "alice truncates app.tasks"),
    ("grant truncate on app.tasks to public", "alice truncates app.tasks"),
    ("grant pg_read_all_settings to tasks_api", "alice can become another role"),
    ("grant pg_execute_server_program to tasks_api", "alice copies tasks to a program of the server"),
    ("alter role tasks_api superuser", "alice becomes the superuser"),
    ("alter role tasks_api bypassrls", "alice reads another user's tasks"),
    ("alter table app.tasks owner to tasks_api", "alice disables row security on app.tasks"),
    ("alter table app.users disable trigger users_last_task_id_counts", "alice sets her counter back"),
    (
        """
        alter function app.current_user_id() owner to tasks_api;
        grant create on schema app to tasks_api
        """,
        "alice creates a function in schema app",
    ),
    (
        """
        create view app.all_tasks as select title, user_id from app.tasks;
        grant select on app.all_tasks to tasks_api
        """,
        "alice finds a row of bob in app.all_tasks",
    ),
    (
        """
        create view public.titles as select title from app.tasks;
        create view public.again as select title from public.titles;
        grant select on public.again to public
        """,
        "alice finds a row of bob in public.again",
    ),
    (
        """
        create table app.log as select ''::text as title;
        grant select on app.log to tasks_api;
        create function app.log() returns trigger language plpgsql security definer as
          $$ begin insert into app.log values (new.title); return new; end $$;
        create trigger log after insert on app.tasks for each row execute function app.log()
        """,
        "alice finds a row of bob in app.log",
    ),
]


@pytest.mark.parametrize(("hole", "attempt"), HOLES)
def test_an_attempt_that_succeeds_through_a_hole_is_broken(
    server: Server, database: str, hole: str, attempt: str
) -> None:
    with planted(server, database, hole) as owner:
        assert attempt in broken(owner)


def test_a_missing_privilege_makes_an_attempt_broken(server: Server, database: str) -> None:
    with planted(server, database, "revoke all on app.tasks from tasks_api") as owner:
        assert "alice creates two tasks" in broken(owner)


# Other databases: a secure schema, a hole in it, and the attempt that is BROKEN only with the hole.
SHOP = (Path(__file__).parent / "shop.sql").read_text().strip().split("\n\n")[1]
MINE = "(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid"
TEAMS = f"""
create function shop.me() returns uuid language sql stable return {MINE};
create table shop.teams (id uuid primary key, name text not null);
create table shop.members (
  tenant_id uuid, team_id uuid references shop.teams, primary key (tenant_id, team_id));
create table shop.documents (
  id bigserial primary key, team_id uuid not null references shop.teams, body text);
alter table shop.teams enable row level security;
alter table shop.members enable row level security;
alter table shop.documents enable row level security;
grant select, insert, update, delete on shop.teams, shop.members, shop.documents to web;
create policy own on shop.members for select to web using (tenant_id = shop.me());
create policy own on shop.teams to web
  using (id in (select team_id from shop.members where tenant_id = shop.me()));
create policy own on shop.documents to web
  using (team_id in (select team_id from shop.members where tenant_id = shop.me()));
"""
LOOKUP = """
create table shop.sizes (id int primary key, name text not null);
grant select on shop.sizes to web;
alter table shop.orders add size int references shop.sizes;
create view shop.all_sizes as select * from shop.sizes;
grant select on shop.all_sizes to web;
create function shop.echo(t uuid) returns uuid language sql return t;
"""
NUMBERS = """
drop schema shop cascade;
create schema shop;
grant usage on schema shop to web;
create type shop.state as enum ('new', 'old');
create table shop.people (id int primary key, email varchar(40) not null);
create table shop.notes (
  id int generated always as identity primary key,
  person int not null references shop.people,
  state shop.state not null,
  kind text not null check (kind in ('short', 'long')),
  tags text[] not null,
  at timestamptz not null);
alter table shop.people enable row level security;
alter table shop.notes enable row level security;
create policy own on shop.people to web using (id = current_setting('shop.person', true)::int);
create policy own on shop.notes to web using (person = current_setting('shop.person', true)::int);
grant select, insert, update, delete on shop.people, shop.notes to web;
"""
# The application logs in as the owner of the tables.
OWNED = """
drop schema shop cascade;
create role keeper login;
create schema shop authorization keeper;
set local role keeper;
create table shop.firms (id int primary key, name text not null);
alter table shop.firms enable row level security, force row level security;
create policy own on shop.firms using (id = nullif(current_setting('shop.firm', true), '')::int);
reset role;
"""
ELSEWHERE = [
    (
        "",
        "create policy hole on shop.orders for select to web using (true)",
        "alice reads bob's row in shop.orders",
    ),
    ("", "alter table shop.orders disable row level security", "nobody reads bob's row in shop.orders"),
    (
        "",
        "create policy hole on shop.customers for insert to web with check (true)",
        "alice inserts a row for bob in shop.customers",
    ),
    (
        "",
        "create policy hole on shop.customers for update to web using (true)",
        "carol changes all rows of shop.customers without reading",
    ),
    (
        "",
        "create policy hole on shop.customers for delete to web using (true)",
        "carol deletes all rows of shop.customers without reading",
    ),
    ("", "grant truncate on shop.orders to web", "alice may truncate shop.orders"),
    (
        "",
        "create unique index on shop.customers (name)",
        "carol detects bob's row in shop.customers by inserting the same values",
    ),
    (
        LOOKUP,
        "create view shop.hole as select id from shop.orders; grant select on shop.hole to web",
        "alice finds a row of bob in shop.hole",
    ),
    (
        LOOKUP,
        """
        create function shop.hole(t uuid) returns setof text language sql security definer as
          'select name from shop.customers c where c.tenant_id = t'
        """,
        "alice learns about bob from his id and shop.hole(uuid)",
    ),
    (
        "",
        """
        create function shop.hole(n bigint) returns text language sql security definer as
          'select name from shop.customers c where c.id = n'
        """,
        "alice learns about bob's row in shop.customers by its key and shop.hole(bigint)",
    ),
    (
        TEAMS,
        "create policy join_any on shop.members for insert to web with check (tenant_id = shop.me())",
        "alice reads bob's row in shop.documents after inserting a row in shop.members",
    ),
    (
        NUMBERS,
        "create policy hole on shop.notes to web using (kind = 'short')",
        "alice reads bob's row in shop.notes",
    ),
]


@pytest.fixture(scope="module")
def shop(server: Server, template: str) -> Iterator[str]:
    """An empty database, for schemas of other projects."""
    assert template  # creates tasks_api; the role web is created by tests and rolled back
    with server.database() as name:
        yield name


@pytest.mark.parametrize(("sound", "hole", "attempt"), ELSEWHERE)
def test_attempts_are_generated_for_any_schema(
    server: Server, shop: str, sound: str, hole: str, attempt: str
) -> None:
    with planted(server, shop, SHOP, sound or "select") as owner:
        with owner.transaction(force_rollback=True):
            assert set(results(owner).values()) == {"ok"}
        owner.execute(hole.encode())
        assert attempt in broken(owner)


def test_without_another_role_the_owner_of_the_tables_is_tried(server: Server, shop: str) -> None:
    attempt = "alice reads bob's row in shop.firms"
    with planted(server, shop, SHOP, OWNED) as owner:
        with owner.transaction(force_rollback=True):
            assert results(owner)[attempt] == "ok"
        owner.execute("alter table shop.firms no force row level security")
        assert attempt in broken(owner)


def test_the_settings_of_the_audit_apply(server: Server, shop: str) -> None:
    names = "set local audit.{} = '{}'"
    named = {
        "role": "web",
        "schema": "shop",
        "setting": "request.jwt.claims",
        "claim": "sub",
        "owners": "tenant_id",
    }
    with planted(server, shop, SHOP, *(names.format(*setting) for setting in named.items())) as owner:
        tried = results(owner)
        assert set(tried.values()) == {"ok"}
        assert "alice reads bob's row in shop.orders" in tried


def test_a_new_table_of_this_project_is_tried(server: Server, database: str) -> None:
    sound = """
    create table app.comments (
      user_id text not null default app.current_user_id() references app.users,
      id uuid default gen_random_uuid(), body text, primary key (user_id, id));
    alter table app.comments enable row level security;
    grant select, insert on app.comments to tasks_api;
    create policy own on app.comments to tasks_api using (user_id = app.current_user_id());
    """
    with planted(server, database, sound) as owner:
        with owner.transaction(force_rollback=True):
            assert set(results(owner).values()) == {"ok"}
        owner.execute("create policy hole on app.comments for select to tasks_api using (body <> '')")
        assert "alice reads bob's row in app.comments" in broken(owner)


def test_a_table_without_a_possible_row_is_not_tried(server: Server, shop: str) -> None:
    cannot = "alter table shop.orders add circle circle not null"
    with planted(server, shop, SHOP, cannot) as owner:
        assert results(owner)["bob has a row in shop.orders"] == "not tried"
        assert broken(owner) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("set local audit.role = wbe", "role wbe does not exist here: audit.role is mistyped"),
        (
            "drop policy tenant on shop.customers; drop policy tenant on shop.orders",
            "set audit.setting",
        ),
    ],
)
def test_a_wrong_or_missing_setting_is_an_error(server: Server, shop: str, settings: str, said: str) -> None:
    with planted(server, shop, SHOP, settings) as owner, pytest.raises(psycopg.Error, match=said):
        broken(owner)


def test_identity_sequences_and_existing_rows_stay_unchanged(server: Server, shop: str) -> None:
    with planted(server, shop, SHOP, NUMBERS) as owner:
        owner.execute("insert into shop.people values (1, 'one')")
        before = owner.execute("select xmin, p from shop.people as p").fetchall()
        with owner.transaction(force_rollback=True):
            assert broken(owner) == []
        assert owner.execute("select xmin, p from shop.people as p").fetchall() == before
        assert owner.execute("select is_called from shop.notes_id_seq").fetchone() == (False,)
