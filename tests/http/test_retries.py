"""A repeated POST with an Idempotency-Key creates nothing more."""

import json
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from conftest import Api, Person, Server
from support.contract import DEFAULTS, ask, assert_invalid, assert_problem, assert_task, tasks, tasks_of

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
MILK = {"title": "Buy milk", "description": "Whole", "completed": True}


def post(person: Person, body: object, key: str | None = None) -> httpx.Response:
    headers = KEY if key is None else {"Idempotency-Key": key}
    return person.client.post("/tasks", json=body, headers=headers)


def assert_replayed(answer: httpx.Response, first: httpx.Response) -> None:
    assert assert_task(answer, 201) == first.json()
    assert answer.content == first.content
    assert answer.headers["idempotency-replayed"] == "true"
    assert answer.headers["location"] == first.headers["location"]
    assert answer.headers["etag"] == '"1"'


def test_a_repeated_request_returns_the_first_task(alice: Person) -> None:
    first = post(alice, MILK)
    assert assert_task(first, 201)["title"] == "Buy milk"
    assert "idempotency-replayed" not in first.headers
    for _ in range(2):
        assert_replayed(post(alice, MILK), first)
    assert tasks(alice) == [first.json()]


def test_without_a_key_every_post_creates(alice: Person) -> None:
    answers = [alice.client.post("/tasks", json=MILK) for _ in range(2)]
    assert [assert_task(answer, 201)["id"] for answer in answers] == [1, 2]
    assert not any("idempotency-replayed" in answer.headers for answer in answers)


CHANGES: dict[str, Callable[[Person], httpx.Response]] = {
    "changed": lambda alice: alice.client.put("/tasks/1", json={"title": "Bread", "description": None}),
    "completed": lambda alice: alice.client.patch("/tasks/1/complete", json={"completed": False}),
    "deleted": lambda alice: alice.client.delete("/tasks/1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_repeat_returns_the_task_as_it_was_created_even_after_a_change(alice: Person, change: str) -> None:
    first = post(alice, MILK)
    assert CHANGES[change](alice).is_success
    now = tasks(alice)
    assert_replayed(post(alice, MILK), first)
    assert tasks(alice) == now


@pytest.mark.parametrize(
    ("first", "repeat"),
    [
        ({"title": "Buy milk"}, {"title": " Buy milk\n"}),
        ({"title": "Buy milk"}, {"title": "Buy milk", "description": None, "completed": False}),
        ({"title": "Buy milk"}, {"title": "Buy milk", "recurrence": 1, "user_id": "bob"}),
        ({"title": "ü", "description": "\u2028\x01"}, {"description": "\u2028\x01", "title": "ü"}),
        (
            {"title": "x", "priority": "HIGH", "status": "done"},
            {"title": "x", "priority": "high", "completed": True},
        ),
        ({"title": "x", "dueDate": "2026-12-24"}, {"title": "x", "due_date": "2026-12-24T00:00:00"}),
        ({"title": "x", "category": " Work"}, {"title": "x", "category": "work", "due_date": ""}),
        ({"title": "x", "tags": ["a ", "b", "a"]}, {"title": "x", "tags": ["a", "b"], "priority": "medium"}),
        ({"title": "x", "tags": None}, {"title": "x", "tags": [], "category": " "}),
    ],
)
def test_tasks_are_compared_after_validation(alice: Person, first: object, repeat: object) -> None:
    made = post(alice, first)
    assert_replayed(post(alice, repeat), made)


@pytest.mark.parametrize(
    "other",
    [
        {"title": "Buy bread"},
        {"description": "Skimmed"},
        {"description": None},
        {"description": ""},
        {"description": "Whole "},
        {"completed": False},
        {"title": "buy milk"},
        {"title": "x" * 201},
        {"priority": "high"},
        {"due_date": "2026-12-24"},
        {"category": "work"},
        {"tags": ["home"]},
    ],
)
def test_the_same_key_with_another_task_is_refused(alice: Person, other: dict[str, object]) -> None:
    first = post(alice, MILK)
    assert_problem(post(alice, MILK | other), 422)
    assert tasks(alice) == [first.json()]
    assert_replayed(post(alice, MILK), first)


def test_the_order_of_tags_is_part_of_a_task(alice: Person) -> None:
    post(alice, {"title": "x", "tags": ["a", "b"]})
    assert_invalid(post(alice, {"title": "x", "tags": ["b", "a"]}), "Idempotency-Key")


def test_a_key_that_is_older_than_a_column_returns_its_default(
    server: Server, database: str, alice: Person
) -> None:
    first = post(alice, MILK).json()
    before = {name: value for name, value in first.items() if name not in DEFAULTS | {"status": ""}} | MILK
    with server.connect(database) as connection:
        kept = "update app.idempotency_keys set task = %s where user_id = %s"
        connection.execute(kept, [json.dumps(before), alice.name])
    again = post(alice, MILK)
    assert (assert_task(again, 201), again.headers["idempotency-replayed"]) == (first, "true")
    assert post(alice, MILK | {"priority": "medium", "tags": []}).json() == first
    assert_invalid(post(alice, MILK | {"priority": "high"}), "Idempotency-Key")


def test_the_refusal_names_the_key(alice: Person) -> None:
    post(alice, MILK)
    assert_invalid(post(alice, {"title": "Buy bread"}), "Idempotency-Key")


@pytest.mark.parametrize(
    "refused",
    [
        '{"title": ""}',
        '{"title": "' + "x" * 201 + '"}',
        '{"title": "x", "description": "' + "x" * 1001 + '"}',
        '{"title": 1}',
        "{",
        "",
        '{"title": "' + "x" * 70_000 + '"}',
    ],
)
def test_a_refused_request_does_not_store_its_key(alice: Person, refused: str) -> None:
    assert alice.client.post("/tasks", content=refused, headers=KEY).status_code in (400, 413, 422)
    made = post(alice, MILK)
    assert assert_task(made, 201)["id"] == 1
    assert "idempotency-replayed" not in made.headers


@pytest.mark.parametrize("key", ["x", "~" * 255, "a b", '"quoted"', "'; --", "a, b", "%00", "\\", "!"])
def test_a_key_is_any_printable_ascii(alice: Person, key: str) -> None:
    first = post(alice, MILK, key)
    assert_replayed(post(alice, MILK, key), first)


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb", "\x80", "x" * 5_000])
def test_any_other_key_is_refused(api: Api, alice: Person, key: str) -> None:
    answer = ask(
        api,
        "POST",
        tasks_of(alice.name),
        token=alice.token,
        headers=[("Idempotency-Key", key)],
        body=b'{"title": "Buy milk"}',
    )
    assert_invalid(answer, "Idempotency-Key")
    assert tasks(alice) == []


def test_keys_are_case_sensitive(alice: Person) -> None:
    assert [post(alice, MILK, key).json()["id"] for key in ("a", "A")] == [1, 2]


def test_only_a_post_uses_a_key(alice: Person) -> None:
    first = post(alice, MILK)
    answer = alice.client.put("/tasks/1", json={"title": "Bread"}, headers=KEY)
    assert assert_task(answer)["title"] == "Bread"
    assert_replayed(post(alice, MILK), first)


def age(server: Server, database: str, person: Person, key: str, hours: float) -> None:
    """Set the creation of a key to so many hours ago."""
    with server.connect(database) as connection:
        changed = connection.execute(
            "update app.idempotency_keys set created_at = now() - make_interval(secs => %s)"
            " where user_id = %s and key = %s",
            (hours * 3600, person.name, key),
        )
        assert changed.rowcount == 1


def kept(server: Server, database: str, person: Person) -> list[str]:
    with server.connect(database) as connection:
        rows = connection.execute("select key from app.idempotency_keys where user_id = %s", (person.name,))
        return sorted(str(key) for (key,) in rows)


def test_a_key_is_honoured_for_24_hours(server: Server, database: str, alice: Person) -> None:
    first = post(alice, MILK, "a")
    age(server, database, alice, "a", 23.9)
    assert post(alice, MILK, "b").json()["id"] == 2
    assert_replayed(post(alice, MILK, "a"), first)


def test_a_key_older_than_24_hours_is_new_again(server: Server, database: str, alice: Person) -> None:
    post(alice, MILK, "a")
    age(server, database, alice, "a", 24.1)
    again = post(alice, {"title": "Another"}, "a")
    assert assert_task(again, 201)["id"] == 2
    assert "idempotency-replayed" not in again.headers
    assert_replayed(post(alice, {"title": "Another"}, "a"), again)


def test_the_next_create_with_a_key_deletes_the_users_expired_keys(
    server: Server, database: str, alice: Person, bob: Person
) -> None:
    for person in (alice, bob):
        for key in ("old", "young"):
            post(person, MILK, key)
        age(server, database, person, "old", 24.1)
    alice.client.post("/tasks", json=MILK)
    assert kept(server, database, alice) == ["old", "young"]
    new = str(uuid4())
    post(alice, MILK, new)
    assert kept(server, database, alice) == sorted([new, "young"])
    assert kept(server, database, bob) == ["old", "young"]
