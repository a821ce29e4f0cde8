"""The endpoints for tasks."""

import json
import re
import unicodedata
from datetime import UTC, datetime

import httpx
import pytest
from conftest import Api, Person
from support.contract import (
    CLEARED,
    DEFAULTS,
    EXAMPLES,
    ask,
    assert_headers,
    assert_invalid,
    assert_problem,
    assert_task,
    tasks,
    tasks_of,
)

MEMBERS = [
    *("id", "user_id", "title", "description", "completed", "status", "priority", "due_date", "category"),
    *("tags", "version", "created_at", "updated_at"),
]
# Unicode's White_Space property, from PropList.txt.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")


def test_a_new_task_has_every_member_in_order(alice: Person) -> None:
    answer = alice.client.post("/tasks", json={"title": "Buy milk"})
    task = assert_task(answer, 201)
    assert list(task) == MEMBERS
    assert task | {"created_at": "", "updated_at": ""} == {
        "id": 1,
        "user_id": alice.name,
        "title": "Buy milk",
        "description": None,
        "completed": False,
        "status": "pending",
        "priority": "medium",
        "due_date": None,
        "category": None,
        "tags": [],
        "version": 1,
        "created_at": "",
        "updated_at": "",
    }
    assert task["created_at"] == task["updated_at"]


def test_a_new_task_keeps_what_was_sent(alice: Person) -> None:
    task = alice.create("Buy milk", description="  two\nlitres ", completed=True)
    assert (task["description"], task["completed"], task["version"]) == ("  two\nlitres ", True, 1)


def test_location_and_etag_identify_the_new_task(api: Api, alice: Person) -> None:
    made = alice.client.post("/tasks", json={"title": "Buy milk"})
    assert made.headers["location"] == f"{tasks_of(alice.name)}/{made.json()['id']}"
    read = ask(api, "GET", made.headers["location"], token=alice.token)
    assert assert_task(read) == made.json()
    assert read.headers["etag"] == made.headers["etag"] == '"1"'


def test_time_stamps_are_iso_8601_in_utc(alice: Person) -> None:
    before = datetime.now(UTC)
    task = alice.create()
    for name in ("created_at", "updated_at"):
        stamp = str(task[name])
        assert TIME.fullmatch(stamp)
        assert abs((datetime.fromisoformat(stamp) - before).total_seconds()) < 60


def test_ids_count_per_user_and_are_never_reused(alice: Person, bob: Person) -> None:
    assert [alice.create()["id"] for _ in range(3)] == [1, 2, 3]
    assert bob.create()["id"] == 1
    assert alice.client.delete("/tasks/3").status_code == 204
    assert alice.create()["id"] == 4


@pytest.mark.parametrize(
    "name", ["user_id", "id", "version", "created_at", "updated_at", "recurrence_pattern"]
)
def test_other_members_of_a_body_have_no_effect(alice: Person, name: str) -> None:
    intruder = {name: "2001-01-01T00:00:00+00:00"}
    task = alice.create("Buy milk", **intruder)
    assert (task["id"], task["user_id"], task["version"]) == (1, alice.name, 1)
    assert not str(task["created_at"]).startswith("2001")
    for method, path in (("PUT", "/tasks/1"), ("PATCH", "/tasks/1")):
        assert assert_task(alice.client.request(method, path, json=intruder)) == task
    done = assert_task(alice.client.patch("/tasks/1/complete", json={"completed": False} | intruder))
    assert done == task


def test_a_title_loses_white_space_at_both_ends(alice: Person) -> None:
    for space in WHITE_SPACE:
        assert alice.create(f"{space}Buy{space}milk{space}")["title"] == f"Buy{space}milk", hex(ord(space))
    padded = alice.client.patch("/tasks/1", json={"title": f"{WHITE_SPACE}Buy bread{WHITE_SPACE}"})
    assert assert_task(padded)["title"] == "Buy bread"


@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u180e", "\x1c", "\x1f", "\u2060"])
def test_a_title_keeps_what_only_looks_like_white_space(alice: Person, character: str) -> None:
    assert alice.create(character)["title"] == character


@pytest.mark.parametrize("character", ["x", "ü", "用", "😀"])
def test_lengths_count_code_points(alice: Person, character: str) -> None:
    task = alice.create(f"  {character * 200}  ", description=character * 1000)
    assert (task["title"], task["description"]) == (character * 200, character * 1000)
    for method, path in (("POST", "/tasks"), ("PUT", "/tasks/1"), ("PATCH", "/tasks/1")):
        longer = alice.client.request(method, path, json={"title": character * 201})
        assert_invalid(longer, "title")
        longer = alice.client.request(method, path, json={"title": "x", "description": character * 1001})
        assert_invalid(longer, "description")
    assert tasks(alice) == [task]


def test_text_comes_back_as_it_was_sent(alice: Person) -> None:
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, 'é "quoted" \\ \u2028 \x01 \x7f </script> 😀 %s %(title)s {0} $1')
        task = alice.create(text, description=text)
        assert (task["title"], task["description"]) == (text, text)
        assert tasks(alice)[0] == task


def test_an_empty_description_is_not_null(alice: Person) -> None:
    assert alice.create(description="")["description"] == ""
    assert alice.create(description=None)["description"] is None


EACH = [(name, *example) for name, examples in EXAMPLES.items() for example in examples]


@pytest.mark.parametrize(("name", "sent", "answered"), EACH)
def test_each_member_is_created_and_read(alice: Person, name: str, sent: object, answered: object) -> None:
    task = assert_task(alice.client.post("/tasks", json={"title": "Buy milk", name: sent}), 201)
    assert {member: task[member] for member in DEFAULTS} | {name: answered} == DEFAULTS | {name: answered}
    assert task[name] == answered
    assert assert_task(alice.client.get("/tasks/1")) == tasks(alice)[0] == task


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(("name", "sent", "answered"), EACH)
def test_each_member_is_changed_alone(
    alice: Person, method: str, name: str, sent: object, answered: object
) -> None:
    others = {other: examples[-1][0] for other, examples in EXAMPLES.items()} | {"completed": True}
    task = alice.create(**others)
    changed = assert_task(alice.client.request(method, "/tasks/1", json={name: sent}))
    expected = task | {name: answered}
    expected["status"] = "completed" if expected["completed"] else "pending"
    assert changed | {"version": 1, "updated_at": task["updated_at"]} == expected
    again = assert_task(alice.client.request(method, "/tasks/1", json={name: sent}))
    assert again == changed
    assert changed["version"] == (1 if expected == task else 2)
    assert (changed["updated_at"] > str(task["updated_at"])) is (expected != task)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_null_clears_a_member_or_is_refused(alice: Person, method: str, name: str) -> None:
    task = alice.create(**{other: examples[0][0] for other, examples in EXAMPLES.items()})
    answer = alice.client.request(method, "/tasks/1", json={name: None})
    if name not in CLEARED:
        assert_invalid(answer, name)
        assert tasks(alice) == [task]
        return
    cleared = assert_task(answer)
    assert cleared == task | {
        name: DEFAULTS[name],
        "version": 2,
        "updated_at": cleared["updated_at"],
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_member_that_is_null_from_the_start_has_its_default_or_is_refused(alice: Person, name: str) -> None:
    answer = alice.client.post("/tasks", json={"title": "Buy milk", name: None})
    if name in CLEARED:
        assert assert_task(answer, 201)[name] == DEFAULTS[name]
    else:
        assert_invalid(answer, name)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-12-24", "2026-12-24T00:00:00"),
        ("2024-02-29T23:59", "2024-02-29T23:59:00"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999999", "9999-12-31T23:59:59"),
        ("2026-03-29T02:30", "2026-03-29T02:30:00"),  # a time that did not exist in Berlin
        ("2026-12-24T18:30:00.000", "2026-12-24T18:30:00"),
        ("", None),
    ],
)
def test_a_due_date_is_the_local_time_that_was_sent(alice: Person, sent: str, answered: str | None) -> None:
    assert alice.create(due_date=sent)["due_date"] == answered
    assert alice.create(dueDate=sent)["due_date"] == answered
    alice.client.patch("/tasks/1", json={"due_date": "2000-01-01"}).raise_for_status()
    assert alice.client.patch("/tasks/1", json={"dueDate": sent}).json()["due_date"] == answered


def test_due_date_has_precedence_over_its_other_name(alice: Person) -> None:
    both = {"due_date": "2026-12-24", "dueDate": "2027-01-01"}
    assert alice.create(**both)["due_date"] == "2026-12-24T00:00:00"
    assert alice.create(due_date=None, dueDate="2027-01-01")["due_date"] is None


OFFSETS = ["2026-12-24T18:30:00Z", "2026-12-24T18:30+01:00", "2026-12-24T18:30:00.000Z", "2026-12-24Z"]


@pytest.mark.parametrize("sent", OFFSETS)
def test_a_due_date_with_an_offset_is_refused_with_the_reason(alice: Person, sent: str) -> None:
    task = alice.create()
    for method, path in (("POST", "/tasks"), ("PUT", "/tasks/1"), ("PATCH", "/tasks/1")):
        for name in ("due_date", "dueDate"):
            answer = alice.client.request(method, path, json={"title": "x", name: sent})
            assert "offset" in assert_invalid(answer, "due_date")["detail"]
    assert tasks(alice) == [task]


def test_a_category_is_one_phrase_in_lower_case(alice: Person) -> None:
    for sent in ("", " ", "\u2003"):
        assert alice.create(category=sent)["category"] is None
    for space in WHITE_SPACE:
        assert alice.create(category=f"{space}Work{space}")["category"] == "work"
    assert alice.create(category=f" {'😀' * 50} ")["category"] == "😀" * 50
    alice.client.patch("/tasks/1", json={"category": "x"}).raise_for_status()
    assert alice.client.patch("/tasks/1", json={"category": ""}).json()["category"] is None


def test_tags_are_trimmed_and_kept_once_in_their_order(alice: Person) -> None:
    padded = [f"{space}{number}{space}" for number, space in enumerate(WHITE_SPACE[:20])]
    assert alice.create(tags=padded)["tags"] == [str(number) for number in range(20)]
    quoted = ['a"b', "a\\b", "a,b", "{a}", "null", "NULL", "'", "%s", "\n" + "x", "é", "e\u0301", " \x1c "]
    assert alice.create(tags=quoted)["tags"] == [*quoted[:8], "x", *quoted[9:11], "\x1c"]
    assert alice.create(tags=[])["tags"] == []


@pytest.mark.parametrize("path", ["/tasks", "/tasks/1", "/tasks/1/complete"])
@pytest.mark.parametrize(
    ("sent", "completed"),
    [
        ({"status": "completed"}, True),
        ({"status": "done"}, True),
        *(({"status": word}, False) for word in ("pending", "todo", "open", "active", "incomplete")),
        ({"status": "completed", "completed": False}, False),
        ({"status": "pending", "completed": True}, True),
        ({"status": "nonsense", "completed": True}, True),
    ],
)
def test_status_sets_completed_unless_completed_is_sent(
    alice: Person, path: str, sent: dict[str, object], completed: bool
) -> None:
    alice.create(completed=not completed)
    method = "POST" if path == "/tasks" else "PATCH"
    task = alice.client.request(method, path, json={"title": "x", **sent}).json()
    assert (task["completed"], task["status"]) == (completed, "completed" if completed else "pending")
    if path != "/tasks":
        assert alice.client.put("/tasks/1", json=sent).json() == task


@pytest.mark.parametrize("status", ["", "Done", "in_progress", "all", None, True, [], {}])
def test_any_other_status_is_refused(alice: Person, status: object) -> None:
    task = alice.create()
    for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1"), ("PATCH", "/1/complete")):
        assert_invalid(
            alice.client.request(method, f"/tasks{path}", json={"title": "x", "status": status}), "status"
        )
    assert tasks(alice) == [task]


def test_a_task_as_it_was_read_may_be_sent_back(alice: Person) -> None:
    task = alice.create(**{name: examples[0][0] for name, examples in EXAMPLES.items()})
    for method in ("PUT", "PATCH"):
        assert assert_task(alice.client.request(method, "/tasks/1", json=task)) == task


def test_stats_count_the_users_tasks(alice: Person, bob: Person) -> None:
    def stats(person: Person) -> object:
        answer = person.client.get("/stats")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-cache")
        assert_headers(answer)
        return answer.json()

    assert stats(alice) == {"total": 0, "pending": 0, "completed": 0}
    for completed in (True, False, True):
        alice.create(completed=completed)
    alice.client.delete("/tasks/1")
    alice.client.patch("/tasks/2", json={"description": "changed"})
    assert alice.client.get("/stats").content == b'{"total":2,"pending":1,"completed":1}'
    assert stats(bob) == {"total": 0, "pending": 0, "completed": 0}


def test_reading_a_task_that_is_not_there_is_404(alice: Person) -> None:
    assert_problem(alice.client.get("/tasks/1"), 404, "not found")


@pytest.mark.parametrize("holds", ['"1"', 'W/"1"', "*", '"0", "1"', '"x" , W/"1"'])
def test_a_version_that_the_client_has_is_not_sent_again(alice: Person, holds: str) -> None:
    alice.create()
    answer = alice.client.get("/tasks/1", headers={"If-None-Match": holds})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("holds", ['"2"', "1", '"01"', "", '"1', 'w/"1"', '"1, 2"', '"2", W/"3"'])
def test_any_other_version_is_sent(alice: Person, holds: str) -> None:
    task = alice.create()
    assert assert_task(alice.client.get("/tasks/1", headers={"If-None-Match": holds})) == task


def test_if_none_match_does_not_hide_a_missing_task(alice: Person) -> None:
    assert_problem(alice.client.get("/tasks/1", headers={"If-None-Match": "*"}), 404, "not found")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    "change",
    [
        {"title": "Bread"},
        {"description": "White"},
        {"description": None},
        {"description": ""},
        {"due_date": "2026-12-24T18:30:00"},
        {"tags": ["home"]},
        {"completed": True, "status": "completed"},
    ],
)
def test_a_change_keeps_the_members_it_does_not_name(
    alice: Person, method: str, change: dict[str, object]
) -> None:
    task = alice.create("Milk", description="Whole")
    changed = assert_task(alice.client.request(method, "/tasks/1", json=change))
    assert changed == task | change | {"version": 2, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > str(task["updated_at"])
    assert assert_task(alice.client.get("/tasks/1")) == changed


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    "same",
    [
        {},
        {"title": "Milk"},
        {"title": " Milk\n"},
        {"description": None, "completed": False},
        {"color": "red"},
    ],
)
def test_a_request_that_changes_nothing_keeps_the_version(
    alice: Person, method: str, same: dict[str, object]
) -> None:
    task = alice.create("Milk")
    assert assert_task(alice.client.request(method, "/tasks/1", json=same)) == task


def test_every_change_of_a_value_increments_the_version(alice: Person) -> None:
    tasks = [alice.create("0")]
    tasks += [alice.client.patch("/tasks/1", json={"title": str(n)}).json() for n in range(1, 6)]
    assert [task["version"] for task in tasks] == [1, 2, 3, 4, 5, 6]
    stamps = [str(task["updated_at"]) for task in tasks]
    assert stamps == sorted(set(stamps))
    assert len({task["created_at"] for task in tasks}) == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_of_a_missing_task_is_404(alice: Person, method: str) -> None:
    assert_problem(alice.client.request(method, "/tasks/1", json={"title": "Milk"}), 404, "not found")
    assert tasks(alice) == []


@pytest.mark.parametrize("completed", [True, False])
def test_completing_sets_the_status_and_may_be_repeated(alice: Person, completed: bool) -> None:
    alice.create(completed=not completed)
    first, again = (
        assert_task(alice.client.patch("/tasks/1/complete", json={"completed": completed})) for _ in range(2)
    )
    assert (first["completed"], first["version"]) == (completed, 2)
    assert again == first


@pytest.mark.parametrize("body", [None, b"", b"  \r\n\t ", b"{}", b' {"priority": "low"} '])
def test_completing_without_a_status_toggles(alice: Person, body: bytes | None) -> None:
    alice.create()
    for version, completed in ((2, True), (3, False)):
        task = assert_task(alice.client.patch("/tasks/1/complete", content=body))
        assert (task["completed"], task["version"]) == (completed, version)


@pytest.mark.parametrize("body", [b"null", b'{"completed": null}'])
def test_completing_with_null_is_refused(alice: Person, body: bytes) -> None:
    task = alice.create()
    field = "body" if body == b"null" else "completed"
    assert_invalid(alice.client.patch("/tasks/1/complete", content=body), field)
    assert tasks(alice) == [task]


def test_completing_a_missing_task_is_404(alice: Person) -> None:
    assert_problem(alice.client.patch("/tasks/1/complete"), 404, "not found")
    assert_problem(alice.client.patch("/tasks/1/complete", json={"completed": True}), 404, "not found")


def test_a_deleted_task_is_gone(alice: Person) -> None:
    alice.create()
    answer = alice.client.delete("/tasks/1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert answer.headers["cache-control"] == "private, no-cache"
    assert tasks(alice) == []
    for method, path in (("GET", "/tasks/1"), ("DELETE", "/tasks/1"), ("PATCH", "/tasks/1/complete")):
        assert_problem(alice.client.request(method, path), 404, "not found")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "x",
        "a/b",
    ],
)
def test_bodies_are_json_in_utf_8_whatever_the_content_type_says(
    api: Api, alice: Person, content_type: str | None
) -> None:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    path, token = tasks_of(alice.name), alice.token

    def send(method: str, target: str, value: object) -> httpx.Response:
        body = json.dumps(value, ensure_ascii=False).encode()
        return ask(api, method, target, token=token, headers=headers, body=body)

    assert assert_task(send("POST", path, {"title": "ü"}), 201)["title"] == "ü"
    assert assert_task(send("PUT", f"{path}/1", {"title": "ö"}))["title"] == "ö"
    assert assert_task(send("PATCH", f"{path}/1", {"title": "用"}))["title"] == "用"
    assert assert_task(send("PATCH", f"{path}/1/complete", {"completed": True}))["completed"] is True
