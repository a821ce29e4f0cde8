"""Session settings do not depend on environment, address, role and database, or the start fails."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import quote
from uuid import uuid4

import httpx
import psycopg
import pytest
from conftest import ALWAYS_FRESH, Api, Breakable, Server, on_18, serving
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.faults import PGBOUNCER, Cluster, cluster, eventually, pgbouncer
from support.starts import refusal, start

from app.commands import migrations
from app.postgres import session_settings
from app.postgres.connection import Connection
from app.postgres.database import Database as Pool
from app.settings import Settings, load

JOERG, IN_LATIN1 = "jörg", "jörg".encode().decode("latin1")
KARACHI = "Asia/Karachi"
Configure = Callable[..., None]


def reach(api: Api, user: str, method: str = "GET", path: str = "", **more: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {api.token(user)}"}
    url = f"{api.url}/api/{quote(user)}/tasks{path}"
    return httpx.request(method, url, headers=headers, timeout=60, **more)  # type: ignore[arg-type]


def assert_utf_8_and_utc(api: Api, server: Server | Cluster, database: str) -> None:
    """Assert that users whose ids are equal in a wrong encoding are isolated, and that times are in UTC."""
    mark = uuid4().hex[:8]
    joerg, other = f"{JOERG} {mark}", f"{IN_LATIN1} {mark}"
    made = reach(api, joerg, "POST", json={"title": "Käse 漢 \U0001f600"})
    assert made.status_code == 201, made.text
    assert made.json()["title"] == "Käse 漢 \U0001f600"
    assert made.json()["created_at"].endswith("+00:00")
    assert reach(api, other).json() == []
    assert reach(api, other, path="/1").status_code == 404
    assert [task["user_id"] for task in reach(api, joerg, path="?search=käse").json()] == [joerg]
    for _ in range(2):
        assert reach(api, joerg, "POST", json={"title": "again"}).status_code == 201
    page = reach(api, joerg, path="?sort=updated&limit=1")
    assert page.status_code == 200
    assert (
        httpx.get(
            f"{api.url}{page.links['next']['url']}", headers=page.request.headers, timeout=60
        ).status_code
        == 200
    )
    assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200
    with server.connect(database) as owner:
        owner.execute("set client_encoding = 'utf8'")
        kept = owner.execute("select title from app.tasks where user_id = %s and id = 1", [joerg]).fetchone()
    assert kept == ("Käse 漢 \U0001f600",)


@pytest.mark.parametrize(
    "environment",
    [
        {"PGCLIENTENCODING": "LATIN1", "PGTZ": KARACHI, "PGDATESTYLE": "German"},
        {"PGCLIENTENCODING": "EUC_JP", "PGTZ": "Europe/London"},
        {"PGCLIENTENCODING": "SQL_ASCII"},
        {"PGOPTIONS": f"-c TimeZone={KARACHI} -c client_encoding=latin1 -c DateStyle=German"},
    ],
    ids=lambda environment: " ".join(environment.values())[:20],
)
def test_the_environment_changes_neither_encoding_nor_zone(
    server: Server, database: str, environment: dict[str, str]
) -> None:
    with serving(server.conninfo(database, "tasks_api"), **environment) as api:
        assert_utf_8_and_utc(api, server, database)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("client_encoding", "latin1"), ("options", f"-c TimeZone={KARACHI} -c client_encoding=win1252")],
)
def test_the_address_changes_neither_encoding_nor_zone(
    server: Server, database: str, keyword: str, value: str
) -> None:
    with serving(make_conninfo(server.conninfo(database, "tasks_api"), **{keyword: value})) as api:
        assert_utf_8_and_utc(api, server, database)


@pytest.mark.parametrize(
    "whose", ["role tasks_api in database {}", "database {}", "role tasks_api"], ids=lambda whose: whose[:-2]
)
def test_settings_of_role_and_database_change_neither_encoding_nor_zone(
    server: Server, clone: str, whose: str
) -> None:
    altered = sql.SQL("alter " + whose).format(sql.Identifier(clone)).as_string()
    wrong = {"client_encoding": "latin1", "timezone": KARACHI, "datestyle": "German"}
    right = {"client_encoding": "UTF8", "timezone": "UTC", "datestyle": "ISO, MDY"}
    with server.connect("postgres") as superuser:
        for name, value in wrong.items():
            superuser.execute(f"{altered} set {name} = '{value}'".encode())
        try:
            with serving(server.conninfo(clone, "tasks_api")) as api:
                assert_utf_8_and_utc(api, server, clone)
        finally:
            for name, value in right.items():
                reset = f"set {name} = '{value}'" if whose == "role tasks_api" else f"reset {name}"
                superuser.execute(f"{altered} {reset}".encode())


# Settings that a client cannot override: the statement, and words that the refusal contains.
UNSOUND = {
    "serializable for the role here": (
        "alter role tasks_api in database {} set default_transaction_isolation = 'serializable'",
        ["default_transaction_isolation is serializable", "for the role in this database", "make migrate"],
    ),
    "repeatable read for the role": (
        "alter role tasks_api set default_transaction_isolation = 'repeatable read'",
        ["default_transaction_isolation is repeatable read", "set for the role:", "make migrate"],
    ),
    "read-only database": (
        "alter database {} set default_transaction_read_only = on",
        [
            "read_only is on",
            "set for the database",
            "alter database {} reset default_transaction_read_only",
        ],
    ),
    "replica role": (
        "alter role tasks_api in database {} set session_replication_role = replica",
        ["session_replication_role is replica", "for the role in this database", "make migrate"],
    ),
    "replica database": (
        "alter database {} set session_replication_role = replica",
        ["session_replication_role is replica", "alter database {} reset session_replication_role"],
    ),
    "no row security": (
        "alter role tasks_api in database {} set row_security = off",
        ["row_security is off", "for the role in this database", "make migrate"],
    ),
    "strings with backslashes": (
        "alter role tasks_api in database {} set standard_conforming_strings = off",
        ["standard_conforming_strings is off", "for the role in this database", "make migrate"],
    ),
    "another path": (
        "alter role tasks_api in database {} set search_path = public",
        ["search_path is public", "for the role in this database", "make migrate"],
    ),
}


@pytest.fixture
def broken(server: Server, clone: str) -> Iterator[str]:
    """The name of a database. Its settings and those of its role are restored at the end."""
    yield clone
    with server.connect("postgres") as superuser:
        superuser.execute(
            sql.SQL("alter role tasks_api in database {} reset all").format(sql.Identifier(clone))
        )
        superuser.execute("alter role tasks_api set default_transaction_isolation = 'read committed'")


@pytest.mark.parametrize("unsound", UNSOUND)
def test_a_setting_that_a_client_cannot_override_is_refused_and_named(
    server: Server, broken: str, unsound: str, configure: Configure
) -> None:
    statement, said = UNSOUND[unsound]
    with server.connect("postgres") as superuser:
        superuser.execute(sql.SQL(statement).format(sql.Identifier(broken)))
    configure(DATABASE_URL=server.conninfo(broken, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    refused = refusal()
    for words in said:
        assert words.format(broken) in refused


# These settings also affect the sessions of the superuser who runs the remedy.
REMEDIED = {
    "read-only database": "alter database {} set default_transaction_read_only = on",
    "read-only for all roles": "alter role all set default_transaction_read_only = on",
    "replica database": "alter database {} set session_replication_role = replica",
    "a user for the database": "alter database {} set app.user_id = 'bob'",
    "another role for the database": "alter database {} set role = 'pg_read_all_data'",
}


@pytest.mark.parametrize("unsound", REMEDIED)
def test_the_sql_of_a_refusal_runs_in_the_same_database_and_suffices(
    server: Server, broken: str, unsound: str, configure: Configure
) -> None:
    right = make_conninfo(
        server.conninfo(broken), options="-c default_transaction_read_only=off -c role=none"
    )
    configure(DATABASE_URL=server.conninfo(broken, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    with server.connect("postgres") as superuser:
        superuser.execute("grant pg_read_all_data to tasks_api")
        try:
            superuser.execute(sql.SQL(REMEDIED[unsound]).format(sql.Identifier(broken)))
            _, remedy = refusal().rsplit(": ", 1)
            with server.connect(broken) as owner:
                for statement in remedy.split("; "):
                    owner.execute(statement.encode())
        finally:
            with psycopg.connect(right, autocommit=True) as owner:
                owner.execute("alter role all reset all")
                owner.execute("revoke pg_read_all_data from tasks_api")
    start()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "alter role tasks_api in database {} set role = 'pg_read_all_data'",
            "for the role in this database",
        ),
        ("alter database {} set role = 'pg_read_all_data'", "for the database"),
        (None, "at the start of the session: remove it from PGOPTIONS"),
    ],
)
def test_a_start_as_another_role_names_the_setting(
    server: Server, broken: str, place: str | None, said: str, configure: Configure
) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("grant pg_read_all_data to tasks_api")
        try:
            if place:
                superuser.execute(sql.SQL(place).format(sql.Identifier(broken)))
            else:
                configure(PGOPTIONS="-c role=pg_read_all_data")
            configure(DATABASE_URL=server.conninfo(broken, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
            refused = refusal()
        finally:
            superuser.execute("revoke pg_read_all_data from tasks_api")
            superuser.execute(sql.SQL("alter database {} reset all").format(sql.Identifier(broken)))
    assert f"role is pg_read_all_data, set {said}" in refused


@on_18  # transaction_timeout came with 17
@pytest.mark.parametrize("name", session_settings.LIMITS.split())
@pytest.mark.parametrize("milliseconds", [1, 900])
def test_a_time_limit_that_is_too_short_is_refused_and_named(
    server: Server, broken: str, name: str, milliseconds: int, configure: Configure
) -> None:
    limit = f"{name} is {milliseconds}ms"
    configure(DATABASE_URL=server.conninfo(broken, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    with server.connect("postgres") as superuser:
        role = sql.SQL("alter role tasks_api in database {} set ").format(sql.Identifier(broken))
        superuser.execute(role + sql.SQL(f"{name} = '{milliseconds}ms'"))
    assert f"{limit}, set for the role in this database: run make migrate" in refusal()
    configure(PGOPTIONS=f"-c {name}={milliseconds}")
    assert limit in refusal()
    configure(PGOPTIONS="")
    migrations.migrate(server.conninfo(broken))
    start()
    configure(PGOPTIONS=f"-c {name}={milliseconds}")
    assert f"{limit}, set at the start of the session: remove it from PGOPTIONS" in refusal()
    configure(PGOPTIONS="")


def in_japanese(message: str) -> psycopg.OperationalError:
    """Return psycopg's error if a server with lc_messages = ja_JP.UTF-8 refuses a login."""
    return psycopg.OperationalError(
        f'connection failed: connection to server at "db" failed: FATAL:  {message}'
    )


@on_18
def test_a_transaction_timeout_that_ends_a_login_is_named_in_any_language(
    server: Server, database: str, configure: Configure
) -> None:
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    configure(PGOPTIONS="-c transaction_timeout=1")
    ended = in_japanese("トランザクションタイムアウトのため接続を終了します")
    explained = asyncio.run(session_settings.explain(ended, Pool(load(Settings)).connect))
    assert "transaction_timeout is 1ms, set at the start of the session" in str(explained)


def test_after_a_refusal_in_another_language_one_further_login_is_tried() -> None:
    refused = in_japanese('ユーザー"tasks_api"のパスワード認証に失敗しました')
    attempts: list[dict[str, str]] = []

    async def refuse(**options: str) -> Connection:
        attempts.append(options)
        raise refused

    assert asyncio.run(session_settings.explain(refused, refuse)) is refused
    assert attempts == [{"options": "-c transaction_timeout=0"}]


def test_a_user_that_is_set_at_the_start_of_sessions_is_refused(
    server: Server, clone: str, configure: Configure
) -> None:
    configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), PGOPTIONS="-c app.user_id=bob")
    configure(JWT_SECRET=secrets.token_hex(32))
    assert "app.user_id is bob, set at the start of the session" in refusal()


@on_18
def test_a_login_event_trigger_is_named(server: Server, clone: str, configure: Configure) -> None:
    with server.connect(clone) as superuser:
        superuser.execute("""
            create function public.at_login() returns event_trigger language plpgsql as
            $$ begin perform set_config('search_path', 'public', false); end $$;
            create event trigger at_login on login execute function public.at_login()
        """)
    configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    refused = refusal()
    assert "search_path is public, set within the session, probably by a login event trigger" in refused


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls"])
def test_a_role_that_bypasses_row_security_is_refused_and_make_migrate_fixes_it(
    server: Server, clone: str, configure: Configure, attribute: str
) -> None:
    configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    with server.connect("postgres") as superuser:
        superuser.execute(f"alter role tasks_api {attribute}".encode())
        try:
            assert "is a superuser or has BYPASSRLS; run make migrate" in refusal()
            migrations.migrate(server.conninfo(clone))
            start()
        finally:
            superuser.execute(f"alter role tasks_api no{attribute}".encode())


@pytest.mark.parametrize("function", ["app.current_user_id()", "app.schema_version()"])
def test_a_missing_grant_is_refused_and_make_migrate_restores_it(
    server: Server, clone: str, configure: Configure, function: str
) -> None:
    configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    with server.connect(clone) as owner:
        owner.execute(f"revoke execute on function {function} from tasks_api".encode())
    assert "In the database, tasks_api lacks a privilege: permission denied for function" in refusal()
    migrations.migrate(server.conninfo(clone))
    start()


@pytest.mark.parametrize("setting", ["default_transaction_isolation=serializable", "row_security=off"])
def test_a_wrong_setting_by_the_client_is_refused(
    server: Server, database: str, configure: Configure, setting: str
) -> None:
    configure(
        DATABASE_URL=server.conninfo(database, "tasks_api"),
        JWT_SECRET=secrets.token_hex(32),
        PGOPTIONS="-c " + setting.replace(" ", "\\ "),
    )
    refused = refusal()
    assert f"{setting.replace('=', ' is ')}, set by the client: remove it from PGOPTIONS" in refused


@on_18
def test_a_database_of_another_encoding_is_refused(
    server: Server, database: str, configure: Configure
) -> None:
    del database  # creates tasks_api
    with server.connect("postgres") as superuser:
        superuser.execute("create database latin_1 encoding 'LATIN1' locale 'C' template template0")
        try:
            configure(DATABASE_URL=server.conninfo("latin_1", "tasks_api"), JWT_SECRET=secrets.token_hex(32))
            assert "does not support UTF-8" in refusal()
        finally:
            superuser.execute("drop database latin_1 with (force)")


def test_weaker_durability_and_time_limits_are_only_logged(
    server: Server, broken: str, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    role = sql.SQL("alter role tasks_api in database {} set ").format(sql.Identifier(broken))
    with server.connect("postgres") as superuser:
        superuser.execute(role + sql.SQL("synchronous_commit = off"))
        superuser.execute(role + sql.SQL("statement_timeout = '1h'"))
        superuser.execute(role + sql.SQL("lock_timeout = 0"))
    configure(DATABASE_URL=server.conninfo(broken, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    start()
    assert "synchronous_commit = off is set here" in caplog.text
    assert "no statement_timeout of at most 5s" in caplog.text
    assert "the API role has no lock_timeout" in caplog.text


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
@pytest.mark.parametrize("place", ["database", "server"])
def test_the_isolation_level_of_database_and_server_does_not_affect_the_role(
    server: Server, clone: str, configure: Configure, isolation: str, place: str
) -> None:
    altered = f"database {clone}" if place == "database" else "system"
    with server.connect("postgres") as superuser:
        superuser.execute(f"alter {altered} set default_transaction_isolation = '{isolation}'".encode())
        superuser.execute("select pg_reload_conf()")
        try:
            configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
            start()
        finally:
            superuser.execute(f"alter {altered} reset default_transaction_isolation".encode())
            superuser.execute("select pg_reload_conf()")


@pytest.mark.parametrize("reconnected", [False, True], ids=["at once", "with new sessions"])
@pytest.mark.parametrize("unsound", UNSOUND)
def test_a_process_is_not_ready_while_new_sessions_have_wrong_settings(
    breakable: Breakable, unsound: str, *, reconnected: bool
) -> None:
    statement, said = UNSOUND[unsound]
    with breakable.server.connect("postgres") as superuser:
        superuser.execute(sql.SQL(statement).format(sql.Identifier(breakable.database)))
        try:
            if reconnected:
                breakable.disconnect()
            assert httpx.get(f"{breakable.api.url}/ready", timeout=60).status_code == 503
            # The reason may first name a session of an earlier test, which is replaced soon.
            named = [words.format(breakable.database) for words in said]
            eventually(lambda: all(words in breakable.reason() for words in named))
        finally:
            superuser.execute(
                sql.SQL("alter role tasks_api in database {} reset all").format(
                    sql.Identifier(breakable.database)
                )
            )
            superuser.execute(
                sql.SQL("alter database {} reset all").format(sql.Identifier(breakable.database))
            )
            superuser.execute("alter role tasks_api set default_transaction_isolation = 'read committed'")
    # The sessions with the wrong settings are replaced without a restart.
    eventually(lambda: httpx.get(f"{breakable.api.url}/ready", timeout=60).status_code == 200)


@pytest.fixture(scope="module")
def pooled(server: Server) -> Iterator[Cluster]:
    """A server with the migrated database `tasks`, for a pooler."""
    with cluster(server.version) as made:
        made.start(fsync="off")
        made.migrated()
        yield made


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
def test_a_setting_that_another_client_left_in_a_pooled_session_is_refused(pooled: Cluster) -> None:
    with pgbouncer(pooled) as port:
        address = pooled.conninfo("tasks", "tasks_api", port)
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("set default_transaction_isolation = 'serializable'")
            with (
                pytest.raises(AssertionError, match="set within the session: have the pooler reconnect"),
                serving(address, PREPARED_STATEMENTS="false"),
            ):
                pass


@pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_encoding_and_time_zone_are_right_behind_a_pooler(pooled: Cluster, mode: str) -> None:
    with pooled.connect() as superuser:
        for setting in ("client_encoding = 'latin1'", f"timezone = '{KARACHI}'", "datestyle = 'German'"):
            superuser.execute(f"alter database tasks set {setting}".encode())
            superuser.execute(f"alter role tasks_api in database tasks set {setting}".encode())
        try:
            with pgbouncer(pooled, mode) as port:
                address = pooled.conninfo("tasks", "tasks_api", port)
                environment = {"PGCLIENTENCODING": "LATIN1", "PGTZ": KARACHI, "POOL_SIZE": "1"}
                with serving(address, ALWAYS_FRESH, PREPARED_STATEMENTS="false", **environment) as api:
                    assert_utf_8_and_utc(api, pooled, "tasks")
        finally:
            superuser.execute("alter database tasks reset all")
            superuser.execute("alter role tasks_api in database tasks reset all")
