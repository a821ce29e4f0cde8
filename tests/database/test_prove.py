"""prove.sql tells a sound database from a broken one, for whoever runs it, and leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
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


def broken(connection: psycopg.Connection) -> list[str]:
    """Run prove.sql within the transaction that is open, and name the attempts that are BROKEN."""
    script = (SQL / "prove.sql").read_text()
    script = script.replace("begin isolation level read committed read write;", "").replace("\nrollback;", "")
    attempts = next(r for r in connection.execute(script.encode()).results() if r.description)
    return [tried for tried, _, _, result in attempts if result != "ok"]


@pytest.mark.parametrize("user", ["postgres", "tasks_api"])
def test_it_finds_the_migrations_sound(server: Server, database: str, user: str) -> None:
    text, sound = reports.prove(server.conninfo(database, user))
    assert sound, text
    assert "none BROKEN" in text


@contextmanager
def migrator(server: Server) -> Iterator[str]:
    """A role that owns the database but is no superuser; it may create roles."""
    name = f"migrator_{uuid4().hex[:8]}"
    role = sql.Identifier(name)
    with server.connect("postgres") as postgres:
        postgres.execute(sql.SQL("create role {} login createrole").format(role))
        if server.version != "15":  # there, who may create roles may grant any
            postgres.execute(
                sql.SQL("grant tasks_api to {} with admin true, inherit false, set false").format(role)
            )
        try:
            yield name
        finally:
            postgres.execute(sql.SQL("drop role {}").format(role))


def test_the_owner_who_is_no_superuser_can_run_it(server: Server) -> None:
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


def test_a_role_that_may_not_act_for_the_api_is_told_so(server: Server, database: str) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    with server.connect("postgres") as postgres:
        postgres.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        try:
            with pytest.raises(SystemExit, match=f"which {name} may not: run it as a superuser"):
                reports.prove(server.conninfo(database, name))
        finally:
            postgres.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_database_without_the_migrations_is_told_so(server: Server, template: str) -> None:
    assert template  # the role is there
    with pytest.raises(SystemExit, match="has no schema app: apply the migrations first"):
        reports.prove(server.conninfo("postgres"))


@pytest.mark.parametrize("user", ["postgres", "tasks_api"])
def test_it_leaves_no_trace(server: Server, clone: str, user: str) -> None:
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


def test_it_touches_no_real_user_even_where_everything_is_open(server: Server, clone: str) -> None:
    with server.connect(clone) as owner, server.connect(clone) as writer:
        owner.execute("insert into app.users (id, last_task_id) values ('dave', 3)")
        owner.execute(
            "insert into app.tasks (id, user_id, title) "
            "select n, 'dave', 'Buy milk' from generate_series(1, 3) as n"
        )
        for table in ("users", "tasks", "idempotency_keys"):
            owner.execute(f"create policy hole on app.{table} using (true) with check (true)".encode())
        with writer.transaction():
            # Whoever tried to change these rows would wait for this lock.
            writer.execute("select from app.tasks where user_id = 'dave' for update")
            writer.execute("select from app.users where id = 'dave' for update")
            text, sound = reports.prove(server.conninfo(clone))
        assert not sound
        assert "lock timeout" not in text
        assert "dave" not in text


# What is planted, and an attempt that must get through.
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
        "a user named bob in capitals reads tasks",
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
        "nobody, after alice and bob, reads tasks",
    ),
    (
        """
        create or replace function app.current_user_id() returns text language sql stable
        return trim(current_setting('app.user_id', true))
        """,
        "a user named bob and a blank reads tasks",
    ),
    (
        """
        grant update (user_id) on app.tasks to tasks_api;
        create policy hole on app.tasks for update using (true)
        """,
        "alice takes bob's tasks over",
    ),
    ("alter table app.tasks disable row level security", "alice counts all tasks"),
    ("grant truncate on app.tasks to tasks_api", "alice empties app.tasks"),
    ("grant truncate on app.tasks to public", "alice empties app.tasks"),
    ("grant pg_read_all_settings to tasks_api", "alice can become another role"),
    ("grant pg_execute_server_program to tasks_api", "alice copies tasks to a program of the server"),
    ("alter role tasks_api superuser", "alice becomes the superuser"),
    ("alter role tasks_api bypassrls", "alice reads somebody else's tasks"),
    ("alter table app.tasks owner to tasks_api", "alice switches row security off for app.tasks"),
    ("alter table app.users disable trigger users_last_task_id_counts", "alice sets her counter back"),
    (
        """
        alter function app.current_user_id() owner to tasks_api;
        grant create on schema app to tasks_api
        """,
        "alice puts a function of hers into schema app",
    ),
    (
        """
        create view app.all_tasks as select title, user_id from app.tasks;
        grant select on app.all_tasks to tasks_api
        """,
        "alice finds bob in app.all_tasks",
    ),
    (
        """
        create view public.titles as select title from app.tasks;
        create view public.again as select title from public.titles;
        grant select on public.again to public
        """,
        "alice finds bob in public.again",
    ),
    (
        """
        create table app.log as select ''::text as title;
        grant select on app.log to tasks_api;
        create function app.log() returns trigger language plpgsql security definer as
          $$ begin insert into app.log values (new.title); return new; end $$;
        create trigger log after insert on app.tasks for each row execute function app.log()
        """,
        "alice finds bob in app.log",
    ),
]


@pytest.mark.parametrize(("hole", "attempt"), HOLES)
def test_it_shows_a_planted_hole(server: Server, database: str, hole: str, attempt: str) -> None:
    with planted(server, database, hole) as owner:
        assert attempt in broken(owner)


def test_it_shows_where_nothing_works(server: Server, database: str) -> None:
    with planted(server, database, "revoke all on app.tasks from tasks_api") as owner:
        assert "alice makes two tasks" in broken(owner)
