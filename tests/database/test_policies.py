"""Row security, grants and constraints: what tasks_api can and cannot do in SQL for each user."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from conftest import Server
from psycopg import errors

from app.commands.migrations import DIRECTORY

Rows = list[tuple[Any, ...]]
AsUser = Callable[..., Rows]

# Unicode 16, PropList.txt: White_Space.
WHITE_SPACE = [
    *map(chr, range(0x9, 0xE)),
    *" \x85\xa0\u1680",
    *map(chr, range(0x2000, 0x200B)),
    *"\u2028\u2029\u202f\u205f\u3000",
]

TABLES: dict[LiteralString, LiteralString] = {
    "users": "id",
    "tasks": "user_id",
    "idempotency_keys": "user_id",
}
WITHHELD: dict[LiteralString, list[LiteralString]] = {
    "users": ["id", "created_at"],
    "tasks": ["id", "user_id", "version", "created_at", "updated_at"],
    "idempotency_keys": ["user_id", "created_at", "key", "task"],
}

CREATE = "insert into app.tasks (title) values ('Buy milk') returning id, user_id, version"
CREATE_SLOWLY = "insert into app.tasks (title) values ('Buy milk') returning id, created_at"
KEEP_KEY = "insert into app.idempotency_keys (key, task) values ('key', '{}')"
STAMPS = "select version, created_at, updated_at, clock_timestamp() from app.tasks"


def acting(connection: psycopg.Connection) -> AsUser:
    """Return a function that runs a statement as tasks_api for a user or None, in a (sub)transaction."""

    def as_user(user: str | None, statement: LiteralString, *values: object) -> Rows:
        with connection.transaction():
            connection.execute(
                "select set_config('role', 'tasks_api', true), set_config('app.user_id', %s, true)", [user]
            )
            cursor = connection.execute(statement, values)
            found = cursor.fetchall() if cursor.description else [()] * cursor.rowcount
            connection.execute("set local role none")
        return found

    return as_user


@pytest.fixture
def as_user(server: Server, database: str) -> Iterator[AsUser]:
    """Run a statement as the API's role for a user; return its rows, or one () for each row changed."""
    with server.connect(database, "tasks_api") as connection:
        yield acting(connection)


@pytest.fixture
def owner(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """The superuser, in a transaction that is rolled back."""
    with server.connect(database) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def alice() -> str:
    return f"Alice {uuid4()}"


@pytest.fixture
def bob() -> str:
    return f"Bob {uuid4()}"


@pytest.fixture
def both_have_a_task(as_user: AsUser, alice: str, bob: str) -> None:
    for user in (alice, bob):
        make_a_task_and_a_key(as_user, user)


def make_a_task_and_a_key(as_user: AsUser, user: str) -> None:
    as_user(user, CREATE)
    as_user(user, KEEP_KEY)


# Allowed


def test_a_user_can_create_a_task(as_user: AsUser, alice: str) -> None:
    assert as_user(alice, CREATE) == [(1, alice, 1)]
    assert as_user(alice, CREATE) == [(2, alice, 1)]


@pytest.mark.usefixtures("both_have_a_task")
def test_a_user_reads_their_own_rows_and_no_others(as_user: AsUser, alice: str, bob: str) -> None:
    assert as_user(alice, "select user_id from app.tasks") == [(alice,)]
    assert as_user(alice, "select id, last_task_id from app.users") == [(alice, 1)]
    assert as_user(alice, "select user_id, key from app.idempotency_keys") == [(alice, "key")]
    assert as_user(bob, "select user_id from app.tasks") == [(bob,)]


@pytest.mark.usefixtures("both_have_a_task")
def test_a_user_changes_their_own_task_and_no_other(as_user: AsUser, alice: str, bob: str) -> None:
    assert as_user(alice, "update app.tasks set title = 'Mine' returning user_id") == [(alice,)]
    assert as_user(alice, "update app.tasks set title = 'Mine' where user_id = %s", bob) == []
    assert as_user(bob, "select title from app.tasks") == [("Buy milk",)]


@pytest.mark.usefixtures("both_have_a_task")
def test_a_user_deletes_their_own_task_and_no_other(as_user: AsUser, alice: str, bob: str) -> None:
    assert as_user(alice, "delete from app.tasks where user_id = %s", bob) == []
    assert as_user(alice, "delete from app.tasks returning user_id") == [(alice,)]
    assert as_user(bob, "select title from app.tasks") == [("Buy milk",)]


def test_a_user_can_insert_only_their_own_user(as_user: AsUser, alice: str, bob: str) -> None:
    assert as_user(alice, "insert into app.users (id) values (%s)", alice) == [()]
    with pytest.raises(errors.InsufficientPrivilege):
        as_user(alice, "insert into app.users (id) values (%s)", bob)


@pytest.mark.usefixtures("both_have_a_task")
def test_a_user_can_increment_only_their_own_counter(as_user: AsUser, alice: str, bob: str) -> None:
    advance: LiteralString = "update app.users set last_task_id = last_task_id + 1 where id = %s"
    assert as_user(alice, advance, alice) == [()]
    assert as_user(alice, advance, bob) == []
    assert as_user(bob, CREATE) == [(2, bob, 1)]


@pytest.mark.usefixtures("both_have_a_task")
def test_two_users_can_store_the_same_key(as_user: AsUser, alice: str, bob: str) -> None:
    with pytest.raises(errors.UniqueViolation):
        as_user(alice, KEEP_KEY)
    again: LiteralString = (
        "insert into app.idempotency_keys (key, task) values ('second', '{}') returning user_id"
    )
    assert as_user(alice, again) == [(alice,)]
    assert as_user(bob, again) == [(bob,)]


# The policies, with every privilege that might be granted by mistake


def test_row_security_alone_prevents_writing_rows_of_another_user(
    owner: psycopg.Connection, alice: str, bob: str
) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute("grant select, insert, update, delete on all tables in schema app to tasks_api")
        as_user = acting(owner)
        make_a_task_and_a_key(as_user, alice)
        make_a_task_and_a_key(as_user, bob)
        refused: list[LiteralString] = [
            "insert into app.users (id) values (%s || ' too')",
            "insert into app.tasks (user_id, id, title) values (%s, 9, 'planted')",
            "insert into app.idempotency_keys (user_id, key, task) values (%s, 'planted', '{}')",
            "update app.users set id = %s, last_task_id = 2",  # reads no column: no select policy
            "update app.tasks set user_id = %s",
        ]
        for statement in refused:
            with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
                as_user(alice, statement, bob)
        assert as_user(alice, "delete from app.users") == []
        assert as_user(alice, "update app.idempotency_keys set task = '[]'") == []


def test_only_the_owner_of_a_key_can_delete_it_and_only_after_it_expires(
    owner: psycopg.Connection, alice: str, bob: str
) -> None:
    with owner.transaction(force_rollback=True):
        as_user = acting(owner)
        make_a_task_and_a_key(as_user, alice)
        assert as_user(alice, "delete from app.idempotency_keys") == []
        owner.execute(
            "update app.idempotency_keys set created_at = now() - interval '23:59' where user_id = %s",
            [alice],
        )
        assert as_user(alice, "delete from app.idempotency_keys") == []
        owner.execute(
            "update app.idempotency_keys set created_at = now() - interval '24:01' where user_id = %s",
            [alice],
        )
        assert as_user(bob, "delete from app.idempotency_keys") == []
        assert as_user(alice, "delete from app.idempotency_keys") == [()]


# Nobody


@pytest.mark.usefixtures("both_have_a_task")
def test_without_a_user_no_row_is_visible(as_user: AsUser) -> None:
    for nobody in (None, ""):
        for table in TABLES:
            assert as_user(nobody, f"select from app.{table}") == []
        assert as_user(nobody, "select app.current_user_id()") == [(None,)]


def test_on_a_new_connection_no_row_is_visible(server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as connection:
        assert connection.execute("select app.current_user_id()").fetchall() == [(None,)]
        for table in TABLES:
            assert connection.execute(f"select from app.{table}").fetchall() == []


@pytest.mark.usefixtures("both_have_a_task")
def test_without_a_user_nothing_can_be_written(as_user: AsUser, alice: str) -> None:
    assert as_user(None, "update app.tasks set title = 'Taken' where user_id = %s", alice) == []
    assert as_user(None, "update app.users set last_task_id = last_task_id + 1 where id = %s", alice) == []
    assert as_user(None, "delete from app.tasks where user_id = %s", alice) == []
    assert as_user(None, "delete from app.idempotency_keys where user_id = %s", alice) == []
    refused: list[LiteralString] = [CREATE, KEEP_KEY, "select app.next_task_id()"]
    for statement in refused:
        with pytest.raises(errors.InsufficientPrivilege):
            as_user(None, statement)


def test_the_user_is_reset_when_the_transaction_ends(as_user: AsUser, server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as connection:
        user = f"Carol {uuid4()}"
        acting(connection)(user, CREATE)
        assert connection.execute("select from app.tasks").fetchall() == []
    assert as_user(user, "select id from app.tasks") == [(1,)]


# Withheld


@pytest.mark.usefixtures("both_have_a_task")
def test_columns_that_only_the_database_sets_cannot_be_written(as_user: AsUser, alice: str) -> None:
    for table, columns in WITHHELD.items():
        for column in columns:
            with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
                as_user(alice, f"update app.{table} set {column} = {column}")
    insertable = {("users", "id"), ("idempotency_keys", "key"), ("idempotency_keys", "task")}
    for table, columns in WITHHELD.items():
        for column in (c for c in columns if (table, c) not in insertable):
            with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
                as_user(alice, f"insert into app.{table} ({column}) values (default)")


@pytest.mark.usefixtures("both_have_a_task")
def test_a_user_can_neither_delete_users_nor_truncate_tables(as_user: AsUser, alice: str) -> None:
    refused: list[LiteralString] = [
        "delete from app.users",
        "truncate app.tasks",
        "truncate app.users cascade",
    ]
    for statement in refused:
        with pytest.raises(errors.InsufficientPrivilege):
            as_user(alice, statement)


@pytest.mark.usefixtures("both_have_a_task")
def test_a_counter_can_only_be_incremented_by_one(as_user: AsUser, alice: str) -> None:
    changes: list[LiteralString] = ["last_task_id - 1", "last_task_id", "last_task_id + 2", "0", "null"]
    for change in changes:
        with pytest.raises(errors.CheckViolation):
            as_user(alice, f"update app.users set last_task_id = {change}")
    with pytest.raises(errors.InsufficientPrivilege):
        as_user(alice, "insert into app.users (id, last_task_id) values (app.current_user_id(), 0)")


def test_a_user_id_has_at_most_255_characters(as_user: AsUser) -> None:
    longest = str(uuid4()).ljust(255, "\U0001f600")
    assert as_user(longest, CREATE) == [(1, longest, 1)]
    with pytest.raises(errors.CheckViolation, match="users_id_length"):
        as_user(longest + "x", CREATE)


def test_similar_user_ids_are_different_users(as_user: AsUser, alice: str) -> None:
    as_user(alice, CREATE)
    for other in (
        alice.upper(),
        alice.lower(),
        f"{alice} ",
        f" {alice}",
        alice[:-1],
        "%",
        "A%",
        "\u0410lice",
    ):
        assert as_user(other, "select from app.tasks") == []


# The rules of a task


def test_white_space_at_either_end_of_a_title_is_refused(as_user: AsUser, alice: str) -> None:
    assert len(WHITE_SPACE) == 25
    for space in WHITE_SPACE:
        for title in (f"{space}Milk", f"Milk{space}", space):
            with pytest.raises(errors.CheckViolation, match="tasks_title"):
                as_user(alice, "insert into app.tasks (title) values (%s)", title)
    inside = "".join(["Buy", *WHITE_SPACE, "milk"])
    assert as_user(alice, "insert into app.tasks (title) values (%s) returning title", inside) == [(inside,)]


def test_a_title_has_1_to_200_characters(as_user: AsUser, alice: str) -> None:
    insert: LiteralString = "insert into app.tasks (title) values (%s) returning title"
    for title in ("x", "x" * 200, "\U0001f600" * 200):
        assert as_user(alice, insert, title) == [(title,)]
    for title in ("", "x" * 201):
        with pytest.raises(errors.CheckViolation, match="tasks_title_length"):
            as_user(alice, insert, title)
    with pytest.raises(errors.NotNullViolation):
        as_user(alice, insert, None)


def test_a_description_is_kept_as_it_was_sent_up_to_1000_characters(as_user: AsUser, alice: str) -> None:
    insert: LiteralString = (
        "insert into app.tasks (title, description) values ('x', %s) returning description"
    )
    for description in (None, "", "  kept \n", "\U0001f600" * 1000):
        assert as_user(alice, insert, description) == [(description,)]
    with pytest.raises(errors.CheckViolation, match="tasks_description_length"):
        as_user(alice, insert, "x" * 1001)


def test_a_task_is_completed_or_not(as_user: AsUser, alice: str) -> None:
    assert as_user(alice, "insert into app.tasks (title) values ('x') returning completed") == [(False,)]
    with pytest.raises(errors.NotNullViolation):
        as_user(alice, "update app.tasks set completed = null")


WORDS = ("none", "low", "medium", "high", "urgent")


# For each further column: the default, valid values, and invalid values with the constraint's name.
VALUES: dict[LiteralString, tuple[object, list[object], list[tuple[object, str]]]] = {
    "priority": ("medium", [*WORDS], [("Low", "word"), ("", "word"), ("asap", "word")]),
    "due_date": (
        None,
        [None, datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)],  # noqa: DTZ001 - local
        [
            ("infinity", "range"),
            ("-infinity", "range"),
            ("10000-01-01", "range"),
            ("2026-12-24 18:30:00.5", "seconds"),
        ],
    ),
    "category": (
        None,
        [None, "x", "\U0001f600" * 50],
        [("", "length"), ("x" * 51, "length"), (" x", "trimmed"), ("\u3000x", "trimmed"), ("Work", "lower")],
    ),
    "tags": (
        [],
        [[], ["b", "a"], ["x" * 50, "A", "a"], [str(n) for n in range(20)]],
        [
            ([str(n) for n in range(21)], "count"),
            *((wrong, "words") for wrong in (["a", "a"], [""], ["x" * 51], ["a "], [None], [["a"], ["b"]])),
        ],
    ),
}


def test_a_column_accepts_only_values_that_its_checks_allow(as_user: AsUser, alice: str) -> None:
    for column, (default, taken, refused) in VALUES.items():
        assert as_user(alice, f"insert into app.tasks (title) values ('x') returning {column}") == [
            (default,)
        ]
        insert: LiteralString = f"insert into app.tasks (title, {column}) values ('x', %s) returning {column}"
        update: LiteralString = f"update app.tasks set {column} = %s where id = 1 returning {column}"
        for value in taken:
            assert as_user(alice, insert, value) == [(value,)]
            assert as_user(alice, update, value) == [(value,)]
        for value, rule in refused:
            for statement in (insert, update):
                with pytest.raises(errors.CheckViolation, match=f"tasks_{column}_{rule}"):
                    as_user(alice, statement, value)
        if default is not None:
            with pytest.raises(errors.NotNullViolation):
                as_user(alice, update, None)


def test_json_of_a_client_is_converted_to_sql_values(as_user: AsUser, alice: str) -> None:
    tags: LiteralString = "select app.tags(%s::jsonb)"
    for sent, made in (
        ('[" b", "a\\u3000", "b", "A"]', ["b", "a", "A"]),
        ("[]", []),
        ('["a", null]', ["a", None]),
        (None, None),
    ):
        assert as_user(alice, tags, sent) == [(made,)]
    time: LiteralString = "select app.local_time(%s)"
    assert as_user(alice, time, "2024-02-29T18:30:07") == [(datetime(2024, 2, 29, 18, 30, 7),)]  # noqa: DTZ001
    assert as_user(alice, time, None) == [(None,)]
    with pytest.raises(errors.DatetimeFieldOverflow):
        as_user(alice, time, "2023-02-29T18:30:07")
    assert as_user(alice, "select app.are_tags('{a,b}'), app.are_tags('{a,a}')") == [(True, False)]


def test_a_task_is_inserted_with_the_members_of_a_json_object(as_user: AsUser, alice: str) -> None:
    insert: LiteralString = "select app.insert_task(%s)"
    sent = {
        "title": "x",
        "priority": "high",
        "due_date": "2026-12-24T18:30:00",
        "category": None,
        "tags": ["a"],
    }
    [(made,)] = as_user(alice, insert, json.dumps(sent | {"unknown": 1}))
    assert made | sent | {"id": 1, "user_id": alice, "completed": False, "version": 1} == made
    for withheld in ({"id": 7}, {"user_id": "bob"}, {"version": 7}, {"created_at": "2001-01-01T00:00:00Z"}):
        with pytest.raises(errors.InsufficientPrivilege):
            as_user(alice, insert, json.dumps({"title": "x"} | withheld))


@pytest.mark.usefixtures("both_have_a_task")
def test_a_key_is_printable_ascii_and_its_task_json(as_user: AsUser, alice: str) -> None:
    insert: LiteralString = "insert into app.idempotency_keys (key, task) values (%s, %s)"
    assert as_user(alice, insert, " " + "~" * 254, "{}") == [()]
    for key in ("", "x" * 256, "\t", "\x7f", "é", "a\n"):
        with pytest.raises(errors.CheckViolation, match="idempotency_keys_key_format"):
            as_user(alice, insert, key, "{}")
    with pytest.raises(errors.InvalidTextRepresentation):
        as_user(alice, insert, "no json", "{")
    with pytest.raises(errors.NotNullViolation):
        as_user(alice, insert, "no answer", None)


def test_a_change_of_a_value_increments_version_and_updated_at(as_user: AsUser, alice: str) -> None:
    as_user(alice, CREATE)
    [(version, created, updated, now)] = as_user(alice, STAMPS)
    assert (version, updated) == (1, created)
    assert 0 <= (now - created).total_seconds() < 60
    changes: list[LiteralString] = ["title = 'Buy oat milk'", "description = ''", "completed = not completed"]
    for n, change in enumerate(changes, 2):
        as_user(alice, f"update app.tasks set {change}")
        [(version, created_now, updated_now, now)] = as_user(alice, STAMPS)
        assert (version, created_now) == (n, created)
        assert updated < updated_now < now
        updated = updated_now


def test_an_update_to_equal_values_keeps_version_and_updated_at(as_user: AsUser, alice: str) -> None:
    as_user(alice, CREATE)
    [before] = as_user(alice, STAMPS)
    assert as_user(alice, "update app.tasks set title = title, completed = false, description = null") == [()]
    [after] = as_user(alice, STAMPS)
    assert after[:3] == before[:3]


def test_updated_at_increases_even_if_the_clock_was_set_back(owner: psycopg.Connection, alice: str) -> None:
    with owner.transaction(force_rollback=True):
        as_user = acting(owner)
        as_user(alice, CREATE)
        owner.execute("alter table app.tasks disable trigger user")
        owner.execute("update app.tasks set updated_at = '2999-01-01 00:00Z' where user_id = %s", [alice])
        owner.execute("alter table app.tasks enable trigger user")
        owner.execute("set local timezone = 'UTC'")
        as_user(alice, "update app.tasks set completed = true")
        found = as_user(alice, "select updated_at = '2999-01-01 00:00:00.000001Z' from app.tasks")
    assert found == [(True,)]


def test_an_id_is_never_reused(as_user: AsUser, alice: str) -> None:
    as_user(alice, CREATE)
    as_user(alice, CREATE)
    as_user(alice, "delete from app.tasks")
    assert as_user(alice, CREATE) == [(3, alice, 1)]


def test_a_refused_insert_uses_no_id(as_user: AsUser, alice: str) -> None:
    with pytest.raises(errors.CheckViolation):
        as_user(alice, "insert into app.tasks (title) values ('')")
    assert as_user(alice, CREATE) == [(1, alice, 1)]


def test_erasing_a_user_deletes_all_their_rows(owner: psycopg.Connection, alice: str, bob: str) -> None:
    with owner.transaction(force_rollback=True):
        as_user = acting(owner)
        make_a_task_and_a_key(as_user, alice)
        make_a_task_and_a_key(as_user, bob)
        owner.execute("delete from app.users where id = %s", [alice])
        for table, column in TABLES.items():
            query: LiteralString = f"select count(*) from app.{table} where {column} = any(%s)"
            assert owner.execute(query, [[alice, bob]]).fetchone() == (1,)


@pytest.mark.usefixtures("both_have_a_task")
def test_a_repeated_key_returns_the_first_task_of_the_same_user(
    owner: psycopg.Connection, alice: str, bob: str
) -> None:
    with owner.transaction(force_rollback=True):
        as_user = acting(owner)
        once: LiteralString = """
            select id, replayed, same
            from app.create_task_once('once', json_build_object('title', %s::text))
        """
        first, again, other = (as_user(alice, once, title)[0] for title in ("x", "x", "y"))
        assert (first[1:], again[1:], other[1:]) == ((False, True), (True, True), (True, False))
        assert first[0] == again[0] == other[0]
        assert as_user(bob, once, "y")[0][1:] == (False, True)
        assert as_user(alice, "select count(*) from app.tasks where title = 'x'") == [(1,)]
        later: LiteralString = "select same from app.create_task_once('once', %s)"  # with a new column
        for due, same in (("null", True), ('"soon"', False)):
            assert as_user(alice, later, f'{{"title": "x", "due": {due}}}') == [(same,)]
        with pytest.raises(errors.InsufficientPrivilege):
            as_user(None, once, "x")


def test_a_create_with_a_key_deletes_up_to_a_hundred_expired_keys_of_the_user(
    owner: psycopg.Connection, alice: str, bob: str
) -> None:
    with owner.transaction(force_rollback=True):
        as_user = acting(owner)
        for user in (alice, bob):
            as_user(user, CREATE)
            owner.execute(
                "insert into app.idempotency_keys (user_id, key, task, created_at)"
                " select %s, 'k' || n, '{}', now() - interval '24 hours' - n * interval '1 s'"
                " from generate_series(1, 250) as n",
                [user],
            )
        once: LiteralString = """select replayed, same from app.create_task_once(%s, '{"title": "x"}')"""
        assert as_user(alice, once, "k1") == [(False, True)]  # the newest expired key can be used again
        assert as_user(alice, once, "k1") == [(True, True)]
        left: LiteralString = "select count(*), max(substr(key, 2)::integer) from app.idempotency_keys"
        assert as_user(alice, left) == [(150, 150)]
        assert as_user(alice, once, "new") == [(False, True)]
        assert as_user(alice, once, "newer") == [(False, True)]
        assert as_user(alice, "select key from app.idempotency_keys order by 1") == [
            ("k1",),
            ("new",),
            ("newer",),
        ]
        assert as_user(bob, left) == [(250, 250)]


def test_the_role_can_read_the_number_of_the_newest_migration(as_user: AsUser, alice: str) -> None:
    newest = max(DIRECTORY.glob("*.sql")).name.partition(".")[0]
    assert as_user(alice, "select app.schema_version()") == [(int(newest),)]


# Races


def test_concurrent_updates_have_versions_and_time_stamps_in_commit_order(
    server: Server, database: str, as_user: AsUser, alice: str
) -> None:
    as_user(alice, CREATE)
    stamps = race(
        server,
        database,
        alice,
        "update app.tasks set completed = not completed returning version, updated_at",
    )
    assert [version for version, _ in stamps] == [2, 3]
    assert stamps[0][1] < stamps[1][1]


def test_tasks_created_concurrently_have_time_stamps_in_the_order_of_their_ids(
    server: Server, database: str, as_user: AsUser, alice: str
) -> None:
    stamps = race(server, database, alice, CREATE_SLOWLY)
    assert [n for n, _ in stamps] == [1, 2]
    assert stamps[0][1] < stamps[1][1]
    assert as_user(alice, CREATE) == [(3, alice, 1)]


def race(server: Server, database: str, user: str, statement: LiteralString) -> Rows:
    """Run a statement in two transactions. The one that began first waits until the other commits."""
    identity: LiteralString = "select set_config('app.user_id', %s, true)"
    with (
        ThreadPoolExecutor(1) as other,
        server.connect(database, "tasks_api") as late,
        server.connect(database, "tasks_api") as early,
        late.transaction(),
    ):
        late.execute(identity, [user])
        with early.transaction():
            early.execute(identity, [user])
            first = early.execute(statement).fetchall()
            waiting = other.submit(lambda: late.execute(statement).fetchall())
            wait_for_a_lock(server, database, late.info.backend_pid)
        return first + waiting.result(timeout=60)


def wait_for_a_lock(server: Server, database: str, backend: int) -> None:
    with server.connect(database) as observer:
        while not observer.execute("select pg_blocking_pids(%s) <> '{}'", [backend]).fetchone()[0]:  # type: ignore[index]
            pass


# Ways around


@pytest.mark.usefixtures("both_have_a_task")
def test_statements_without_a_condition_on_the_user_find_only_the_users_rows(
    as_user: AsUser, alice: str
) -> None:
    mine = [(alice,)]
    assert as_user(alice, "select user_id from app.tasks order by created_at desc limit 1000") == mine
    assert as_user(alice, "select user_id from app.tasks where id = 1") == mine
    assert as_user(alice, "select user_id from app.tasks where lower(title) like '%%milk%%'") == mine
    assert (
        as_user(alice, "update app.tasks set completed = not completed where id = 1 returning user_id")
        == mine
    )
    assert as_user(alice, "delete from app.tasks where id = 1 returning user_id") == mine
    assert as_user(alice, "select user_id from app.idempotency_keys where key = 'key'") == mine


@pytest.mark.usefixtures("both_have_a_task")
def test_a_statement_that_reads_no_column_changes_only_the_users_rows(
    as_user: AsUser, alice: str, bob: str
) -> None:
    for user in (alice, bob):  # no column is read, so the select policies do not apply
        assert as_user(user, "update app.users set last_task_id = 2") == [()]
        assert as_user(user, "update app.tasks set title = 'Mine'") == [()]
        assert as_user(user, "delete from app.idempotency_keys") == []
    for user in (alice, bob):
        assert as_user(user, "delete from app.tasks") == [()]


@pytest.mark.usefixtures("both_have_a_task")
def test_tablesample_returns_only_the_users_tasks(as_user: AsUser, alice: str) -> None:
    assert as_user(alice, "select user_id from app.tasks tablesample system (100)") == [(alice,)]
    assert as_user(alice, "select user_id from app.tasks tablesample bernoulli (100)") == [(alice,)]


@pytest.mark.usefixtures("both_have_a_task")
def test_copy_to_stdout_returns_only_the_users_tasks(server: Server, database: str, alice: str) -> None:
    with server.connect(database, "tasks_api") as connection, connection.transaction():
        connection.execute("select set_config('app.user_id', %s, true)", [alice])
        with connection.cursor().copy("copy app.tasks (user_id) to stdout") as copy:
            assert list(copy.rows()) == [(alice,)]


@pytest.mark.usefixtures("both_have_a_task")
def test_copy_from_stdin_is_refused(server: Server, database: str, alice: str) -> None:
    with server.connect(database, "tasks_api") as connection, connection.transaction(force_rollback=True):
        connection.execute("select set_config('app.user_id', %s, true)", [alice])
        with (
            pytest.raises(errors.FeatureNotSupported, match="row-level security"),
            connection.cursor().copy("copy app.tasks (title) from stdin") as copy,
        ):
            copy.write_row(["planted"])


@pytest.mark.usefixtures("both_have_a_task")
def test_a_prepared_plan_returns_only_rows_of_its_executor(as_user: AsUser, alice: str, bob: str) -> None:
    as_user(bob, "deallocate all")  # the session may still have them from a failed run
    as_user(bob, "set plan_cache_mode = force_generic_plan")
    as_user(bob, "prepare plan as select user_id from app.tasks")
    assert as_user(bob, "execute plan") == [(bob,)]
    assert as_user(alice, "execute plan") == [(alice,)]
    assert as_user(None, "execute plan") == []
