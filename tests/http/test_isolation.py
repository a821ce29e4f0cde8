"""Users can neither read, detect nor change tasks of other users."""

from typing import Any

import httpx
import pytest
from conftest import Api, Person
from support.contract import ask, assert_problem, assert_task, tasks, tasks_of

FORBIDDEN = "Not authorized to access this user's tasks"
NEVER = 900_000
SECRET = "Rob the bank at noon"

# Every request for one task: method, path below /tasks/{id}, headers, body.
REACHES: list[tuple[str, str, dict[str, str], str | None]] = [
    ("GET", "", {}, None),
    ("GET", "", {"If-None-Match": '"1"'}, None),
    ("GET", "", {"If-None-Match": "*"}, None),
    *(
        (method, rest, condition, body)
        for condition in ({}, {"If-Match": '"1"'}, {"If-Match": '"2"'}, {"If-Match": "*"}, {"If-Match": "x"})
        for method, rest, body in (
            ("PUT", "", '{"title": "Mine now"}'),
            ("PUT", "", "{}"),
            ("PATCH", "", '{"description": null, "user_id": "alice"}'),
            ("PATCH", "/complete", None),
            ("PATCH", "/complete", '{"completed": true}'),
            ("DELETE", "", None),
        )
    ),
]


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body, without the date and the request id."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    return answer.status_code, headers, answer.content


@pytest.fixture
def secret(alice: Person, bob: Person) -> Any:
    """Bob's second task. Alice created three tasks and deleted the first two."""
    for _ in range(3):
        alice.create("Buy milk")
    for number in (1, 2):
        assert alice.client.delete(f"/tasks/{number}").status_code == 204
    bob.create("Sleep")
    return bob.create(SECRET, description=SECRET)


def test_the_response_for_a_task_of_another_user_is_that_for_a_missing_task(
    alice: Person, bob: Person, secret: Any
) -> None:
    mine = tasks(alice)
    for method, rest, headers, body in REACHES:
        his, never = (
            alice.client.request(method, f"/tasks/{number}{rest}", headers=headers, content=body)
            for number in (secret["id"], NEVER)
        )
        assert_problem(his, 404, "not found")
        assert told(his) == told(never)
    assert tasks(bob)[0] == secret
    assert tasks(alice) == mine


def test_the_path_of_another_user_does_not_show_which_tasks_exist(
    api: Api, alice: Person, bob: Person, secret: Any
) -> None:
    targets = [(bob.name, secret["id"]), (bob.name, NEVER), ("nobody at all", 1)]
    for method, rest, headers, text in REACHES:
        body = None if text is None else text.encode()
        his, never, nobodys = (
            ask(
                api,
                method,
                f"{tasks_of(user)}/{number}{rest}",
                token=alice.token,
                headers=headers.items(),
                body=body,
            )
            for user, number in targets
        )
        assert_problem(his, 403, FORBIDDEN)
        assert told(his) == told(never) == told(nobodys)
    assert tasks(bob)[0] == secret


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"status": "all", "limit": "1000"},
        {"status": "pending"},
        {"search": SECRET},
        {"search": "o"},
        {"search": "%"},
        {"sort": "title"},
        {"sort": "updated", "order": "asc"},
        {"user_id": "bob"},
        {"search": "' or true --"},
    ],
)
@pytest.mark.usefixtures("secret")
def test_a_list_contains_only_tasks_of_the_user(alice: Person, bob: Person, query: dict[str, str]) -> None:
    assert {task["user_id"] for task in tasks(alice, **query)} <= {alice.name}
    named = query | ({"user_id": bob.name} if "user_id" in query else {})
    assert SECRET not in alice.client.get("/tasks", params=named).text


@pytest.mark.parametrize("sort", ["created", "updated", "title"])
def test_a_cursor_of_another_user_returns_only_tasks_of_the_user(
    alice: Person, bob: Person, sort: str
) -> None:
    for person in (alice, bob):
        for title in "abc":
            person.create(title)
    query = {"sort": sort, "order": "asc", "limit": "1"}
    link = bob.client.get("/tasks", params=query).headers["link"]
    cursor = httpx.URL(link.partition(">")[0][1:]).params["cursor"]
    assert {t["user_id"] for t in tasks(alice, **query, cursor=cursor)} <= {alice.name}


def test_two_users_may_send_the_same_idempotency_key(alice: Person, bob: Person) -> None:
    key = {"Idempotency-Key": f"key of {alice.name}"}
    his = bob.client.post("/tasks", json={"title": SECRET}, headers=key)
    hers = alice.client.post("/tasks", json={"title": SECRET}, headers=key)
    other = alice.client.post(
        "/tasks", json={"title": "Another"}, headers={"Idempotency-Key": f"{alice.name} 2"}
    )
    assert [assert_task(answer, 201)["id"] for answer in (his, hers, other)] == [1, 1, 2]
    assert "idempotency-replayed" not in hers.headers
    assert hers.json()["user_id"] == alice.name


def test_an_owner_in_a_body_is_ignored(alice: Person, bob: Person) -> None:
    task = alice.create("Mine", user_id=bob.name)
    for method, path in (("PUT", "/tasks/1"), ("PATCH", "/tasks/1"), ("PATCH", "/tasks/1/complete")):
        body = {"user_id": bob.name, "title": "Mine", "completed": False}
        assert assert_task(alice.client.request(method, path, json=body)) == task
    assert tasks(bob) == []


def test_ids_do_not_show_how_many_tasks_others_create(alice: Person, bob: Person) -> None:
    first = alice.create()
    for _ in range(5):
        bob.create()
    assert (first["id"], alice.create()["id"]) == (1, 2)


def test_user_ids_are_case_sensitive_and_never_normalised(api: Api, alice: Person) -> None:
    near = [alice.name.upper(), alice.name + " ", " " + alice.name, alice.name + "\u200b", alice.name[:-1]]
    alice.create()
    for user in near:
        answer = ask(api, "GET", tasks_of(user), token=api.token(user))
        assert (answer.status_code, answer.json()) == (200, [])
