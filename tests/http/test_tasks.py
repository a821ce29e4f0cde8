"""Each endpoint does what the contract says."""

import json
import re
import unicodedata
from datetime import UTC, datetime

import httpx
import pytest
from conftest import Api, Person
from support.contract import ask, assert_invalid, assert_problem, assert_task, tasks, tasks_of

MEMBERS = ["id", "user_id", "title", "description", "completed", "version", "created_at", "updated_at"]
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
        "version": 1,
        "created_at": "",
        "updated_at": "",
    }
    assert task["created_at"] == task["updated_at"]


def test_a_new_task_keeps_what_was_sent(alice: Person) -> None:
    task = alice.create("Buy milk", description="  two\nlitres ", completed=True)
    assert (task["description"], task["completed"], task["version"]) == ("  two\nlitres ", True, 1)


def test_location_and_etag_lead_to_the_new_task(api: Api, alice: Person) -> None:
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


def test_ids_count_within_each_user_and_are_never_given_twice(alice: Person, bob: Person) -> None:
    assert [alice.create()["id"] for _ in range(3)] == [1, 2, 3]
    assert bob.create()["id"] == 1
    assert alice.client.delete("/tasks/3").status_code == 204
    assert alice.create()["id"] == 4


@pytest.mark.parametrize("name", ["user_id", "id", "version", "created_at", "updated_at", "priority", "tags"])
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


def test_an_empty_description_is_kept_apart_from_none(alice: Person) -> None:
    assert alice.create(description="")["description"] == ""
    assert alice.create(description=None)["description"] is None


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
        {"completed": True},
        {"description": ""},
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
def test_what_changes_nothing_makes_no_new_version(
    alice: Person, method: str, same: dict[str, object]
) -> None:
    task = alice.create("Milk")
    assert assert_task(alice.client.request(method, "/tasks/1", json=same)) == task


def test_every_real_change_adds_one_version(alice: Person) -> None:
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


@pytest.mark.parametrize("body", [None, b"", b"  \r\n\t ", b"{}", b' {"priority": 1} '])
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
