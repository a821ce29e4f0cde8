"""Requests of existing front ends for the hackathon's specification, and their expected effects.

These front ends differ in names, in members that this API does not know, and in missing headers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from conftest import Api, Person, on_18
from support.contract import ask, tasks_of

pytestmark = on_18

JSON = {"Content-Type": "application/json"}  # many front ends send this without a body, too
LISTS = [
    ("", "Call Zoë, Buy milk"),
    ("?status=all", "Call Zoë, Buy milk"),
    ("?status=pending", "Call Zoë"),
    ("?status=all&sort=created&order=desc", "Call Zoë, Buy milk"),
    ("?status=all&search=&sort=created_at&order=desc", "Call Zoë, Buy milk"),
    ("?search=&sort_by=title&sort_order=asc", "Buy milk, Call Zoë"),
    ("?completed=true", "Buy milk"),
    ("?completed=false&priority=all&tags=", "Call Zoë"),
    ("?skip=0&limit=100", "Call Zoë, Buy milk"),
    ("?page=1&limit=20&sort_by=created_at&sort_order=desc", "Call Zoë, Buy milk"),
    ("?offset=0&limit=1000&count=true", "Call Zoë, Buy milk"),
    ("?user_id=alice&_=1764200000000", "Call Zoë, Buy milk"),
]
CREATES: list[dict[str, Any]] = [
    {"title": "Mow"},
    {"title": "Mow", "description": ""},
    {"title": "Mow", "description": None, "completed": False},
    {"title": "Mow", "description": "", "priority": "medium", "tags": [], "due_date": None},
    {"title": "Mow", "priority": "high", "tags": ["home", "work"], "recurrence": {"every": "week"}},
    {"user_id": "somebody", "title": "Mow", "completed": False},
    {"id": 99, "title": "Mow", "created_at": "2020-01-01T00:00:00Z", "version": 7},
]
BODIES: list[tuple[bytes | None, bool]] = [
    (None, True),
    (b"", True),
    (b"{}", True),
    (b'{"completed": true}', True),
    (b'{"completed": false}', False),
    (b'{"completed": true, "id": 2, "title": "no change"}', True),
]


def send(  # noqa: PLR0913 - one for each part of a request
    api: Api,
    person: Person,
    method: str,
    rest: str = "",
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] = JSON,
) -> httpx.Response:
    """Send a request with only these headers and the token."""
    return ask(
        api, method, tasks_of(person.name) + rest, token=person.token, headers=headers.items(), body=body
    )


@pytest.fixture
def carol(alice: Person) -> Person:
    """A user with a completed task and a pending one."""
    alice.create("Buy milk", completed=True)
    alice.create("Call Zoë")
    return alice


@pytest.mark.parametrize(("query", "listed"), LISTS)
def test_a_front_end_can_list_with_its_own_parameters(
    api: Api, carol: Person, query: str, listed: str
) -> None:
    answer = send(api, carol, "GET", query, headers=JSON | {"Origin": "http://localhost:3000"})
    assert answer.status_code == 200, answer.text
    assert ", ".join(task["title"] for task in answer.json()) == listed
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("task", CREATES)
@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8", None])
def test_a_front_end_can_create_with_any_content_type(
    api: Api, alice: Person, task: dict[str, Any], kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = send(api, alice, "POST", "", json.dumps(task).encode(), headers=headers)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["id"], made["user_id"], made["version"]) == (1, alice.name, 1)
    assert (made["title"], made["completed"]) == ("Mow", False)
    assert made["description"] == task.get("description")
    assert made == send(api, alice, "GET", "/1").json()


def test_a_front_end_can_put_the_whole_task_that_it_read(api: Api, carol: Person) -> None:
    read = send(api, carol, "GET", "/2").json()
    whole = {**read, "title": "Call Zoë again", "description": "Today", "priority": "low", "tags": []}
    answer = send(api, carol, "PUT", "/2", json.dumps(whole).encode())
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["title"], changed["description"]) == ("Call Zoë again", "Today")
    kept = ("id", "user_id", "completed", "created_at")
    assert [changed[name] for name in kept] == [read[name] for name in kept]
    assert changed["version"] == 2


@pytest.mark.parametrize("part", [{"title": "New"}, {"description": None}, {"priority": "high"}])
def test_a_put_of_some_members_keeps_the_others(api: Api, carol: Person, part: dict[str, Any]) -> None:
    read = send(api, carol, "GET", "/2").json()
    answer = send(api, carol, "PUT", "/2", json.dumps(part).encode())
    assert answer.status_code == 200, answer.text
    moved = ("version", "updated_at")
    assert {k: v for k, v in answer.json().items() if k not in moved} == {
        k: v for k, v in (read | part).items() if k not in moved
    }


@pytest.mark.parametrize(("body", "completed"), BODIES)
@pytest.mark.parametrize("kind", ["application/json", None])
def test_a_front_end_can_set_or_toggle_completed_with_any_body(
    api: Api, carol: Person, body: bytes | None, completed: bool, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = send(api, carol, "PATCH", "/2/complete", body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["completed"], answer.json()["title"]) == (completed, "Call Zoë")


Sent = tuple[str, str, dict[str, Any] | None]  # a method, the rest of the path and a body
TOGGLED: Sent = ("PATCH", "/complete", None)


@dataclass(frozen=True)
class Page:
    """The requests of a front end, and the members of a task that it shows."""

    form: dict[str, Any]
    shows: dict[str, Any]
    loads: str
    narrows: tuple[str, ...]  # each filter must return only the new task
    done: Sent = TOGGLED
    undone: Sent = TOGGLED
    edits: dict[str, Any] = field(default_factory=lambda: {"title": "Pay the rent"})


PAGES = {
    "badges for priorities": Page(
        {"title": "Pay rent", "description": "", "priority": "high"},
        {"priority": "high", "description": ""},
        "?status=all&sort=created&order=desc",
        ("?priority=high", "?status=pending&priority=high&sort=priority"),
        edits={"title": "Pay rent", "description": "Now", "priority": "urgent"},
    ),
    "capital letters and a select that begins with all": Page(
        {"title": "Pay rent", "priority": "High", "category": "Finance", "completed": False},
        {"priority": "high", "category": "finance", "completed": False},
        "?priority=all&category=all&status=all&q=",
        ("?category=Finance", "?priority=HIGH&category=finance&q=RENT"),
        ("PUT", "", {"completed": True}),
        ("PUT", "", {"completed": False}),
        edits={"category": "", "priority": "Low"},
    ),
    "a status in words": Page(
        {"title": "Pay rent", "description": None, "status": "pending", "priority": "low"},
        {"status": "pending", "priority": "low"},
        "?status=active&sort=date",
        ("?status=todo&search=rent", "?status=incomplete&sort=alpha&priority=low"),
        ("PUT", "", {"status": "completed"}),
        ("PUT", "", {"status": "pending"}),
        edits={"status": "pending", "title": "Pay the rent"},
    ),
    "a date field": Page(
        {"title": "Pay rent", "due_date": "2026-12-24", "priority": "medium", "recurrence_pattern": None},
        {"due_date": "2026-12-24T00:00:00"},
        "?sort_by=due_date&sort_order=asc&status=all",
        ("?due_before=2026-12-25", "?due_after=2026-12-24&due_before=2026-12-24T00:01"),
        edits={"title": "Pay rent", "due_date": ""},
    ),
    "a field of date and time, and camel case": Page(
        {"title": "Pay rent", "dueDate": "2026-12-24T18:30", "tags": ["home", "money"], "isRecurring": False},
        {"due_date": "2026-12-24T18:30:00", "tags": ["home", "money"]},
        "?sort=dueDate&order=asc&_=1764200000000",
        ("?tag=money", "?tags=money,home"),
        ("PATCH", "/complete", {"completed": True}),
        ("PATCH", "/complete", {"completed": False}),
        edits={"dueDate": None, "tags": ["home"]},
    ),
    "tags split at commas": Page(
        {
            "user_id": "someone",
            "title": "Pay rent",
            "description": "May",
            "tags": ["money", " bank", "money"],
        },
        {"tags": ["money", "bank"], "priority": "medium"},
        "?skip=0&limit=100&sort_by=created_at&sort_order=desc&tags=",
        ("?tags=bank", "?completed=false&tags=bank&search=may"),
        edits={"tags": []},
    ),
    "the whole task back": Page(
        {"title": "Pay rent", "priority": "urgent", "due_date": None, "category": None, "tags": []},
        {"priority": "urgent", "due_date": None, "category": None, "tags": []},
        "?page=1&limit=20&sort=createdAt&order=desc",
        ("?priority=urgent&completed=false&sort=created_date",),
        ("PUT", "", {"id": 2, "title": "Pay rent", "completed": True, "version": 1, "tags": []}),
        ("PUT", "", {"id": 2, "title": "Pay rent", "completed": False, "version": 1, "tags": []}),
        edits={"title": "Pay rent", "description": "", "completed": False, "priority": "none", "tags": ["x"]},
    ),
    "counts above the list": Page(
        {"title": "Pay rent", "description": "The flat's"},
        {"description": "The flat's", "status": "pending"},
        "?status=all&count=true&offset=0",
        ("?search=FLAT", "?status=open&q=rent"),
        edits={"description": None},
    ),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_members_that_a_form_sends_are_returned(api: Api, carol: Person, page: Page) -> None:
    send(api, carol, "DELETE", "/2")
    alike = json.dumps({"title": "Write", "priority": "none", "due_date": "2031-01-01", "category": "other"})
    send(api, carol, "POST", "", alike.encode())

    def ask_for(method: str, rest: str, value: dict[str, Any] | None = None) -> Any:
        answer = send(api, carol, method, rest, None if value is None else json.dumps(value).encode())
        assert answer.is_success, answer.text
        return answer.json()

    made = ask_for("POST", "", page.form)
    assert made | page.shows | {"title": "Pay rent", "user_id": carol.name} == made
    assert made in ask_for("GET", page.loads)
    for narrow in page.narrows:
        assert ask_for("GET", narrow) == [made], narrow
    path = f"/{made['id']}"
    for (method, rest, body), completed in ((page.done, True), (page.undone, False)):
        changed = ask_for(method, path + rest, body)
        status = "completed" if completed else "pending"
        assert (changed["completed"], changed["status"]) == (completed, status)
        counts = carol.client.get("/stats").json()
        assert counts == {"total": 3, "pending": 2 - completed, "completed": 1 + completed}
    edited = ask_for("PUT", path, page.edits)
    known = {"due_date" if name == "dueDate" else name: value for name, value in page.edits.items()}
    known |= {name: None for name in ("due_date", "category") if known.get(name) == ""}
    assert edited | known | {"priority": known.get("priority", edited["priority"]).lower()} == edited
    assert edited == ask_for("GET", path)


def test_a_delete_has_an_empty_response(api: Api, carol: Person) -> None:
    answer = send(api, carol, "DELETE", "/1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [task["title"] for task in send(api, carol, "GET").json()] == ["Call Zoë"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_front_end_of_an_allowed_origin_can_send_the_preflighted_request(
    api: Api, carol: Person, scheme: str
) -> None:
    origin = ("Origin", "http://localhost:3000")
    asked = [
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ]
    path = f"{tasks_of(carol.name)}/2/complete"
    assert ask(api, "OPTIONS", path, headers=[origin, *asked]).status_code == 204
    token = ("Authorization", f"{scheme} {carol.token}")
    assert ask(api, "PATCH", path, headers=[origin, token]).json()["completed"] is True


def test_the_error_that_a_page_shows_is_a_sentence(api: Api, alice: Person) -> None:
    for body, said in {
        b'{"title": ""}': "title: must have 1 to 200 characters, not counting white space at either end",
        b'{"title": 7}': "title: must be a string",
        b'{"description": "x"}': "title: is missing",
        b"[]": "body: must be a JSON object",
        b'{"title": "x", "completed": "yes"}': "completed: must be true or false",
    }.items():
        assert send(api, alice, "POST", "", body).json()["detail"] == said
