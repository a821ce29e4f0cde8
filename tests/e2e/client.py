"""Uses the client that openapi-python-client generates from the OpenAPI document, on the running API."""

import os
import re
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from tasks_client import AuthenticatedClient
from tasks_client.api.tasks import (
    complete_task,
    create_task,
    delete_task,
    get_stats,
    get_task,
    list_tasks,
    update_task,
)
from tasks_client.models import (
    Completion,
    ListTasksPriority,
    ListTasksSort,
    Problem,
    Stats,
    Task,
    TaskChanges,
    TaskCreate,
    TaskCreatePriority,
)
from tasks_client.types import UNSET, Unset

api = AuthenticatedClient(os.environ["API"], token=os.environ["TOKEN"])
USER = os.environ["USER"]


def create(title: str, key: str | Unset = UNSET) -> tuple[Task, str]:
    answer = create_task.sync_detailed(USER, client=api, body=TaskCreate(title), idempotency_key=key)
    assert isinstance(answer.parsed, Task)
    return answer.parsed, answer.headers["ETag"]


def titles() -> list[str]:
    found: list[str] = []
    cursor: str | Unset = UNSET
    while True:
        answer = list_tasks.sync_detailed(USER, client=api, limit=2, cursor=cursor)
        assert isinstance(answer.parsed, list)
        found += [task.title for task in answer.parsed]
        following = re.search('<([^>]*)>; rel="next"', answer.headers.get("Link", ""))
        if not following:
            return found
        cursor = parse_qs(urlsplit(following[1]).query)["cursor"][0]


task, version = create("Buy milk", "once")
assert create("Buy milk", "once") == (task, version)
for title in ("Call Zoë", "Mow", "Sleep", "Write"):
    create(title)
assert titles() == ["Write", "Sleep", "Mow", "Call Zoë", "Buy milk"]

changes = TaskChanges(description="The blue one")
changed = update_task.sync(USER, task.id, client=api, body=changes, if_match=version)
assert isinstance(changed, Task)
assert changed.description == "The blue one"
stale = update_task.sync(USER, task.id, client=api, body=TaskChanges(title="Buy bread"), if_match=version)
assert isinstance(stale, Problem)
assert stale.status == HTTPStatus.PRECONDITION_FAILED

rent = create_task.sync(
    USER,
    client=api,
    body=TaskCreate(
        "Pay rent",
        priority=TaskCreatePriority.HIGH,
        due_date="2026-12-24T18:30",
        category="Work",
        tags=["home", "money"],
    ),
)
assert isinstance(rent, Task)
assert (rent.priority.value, rent.due_date, rent.category) == ("high", "2026-12-24T18:30:00", "work")
assert (rent.tags, rent.status.value) == (["home", "money"], "pending")
narrowed = list_tasks.sync(
    USER,
    client=api,
    priority=ListTasksPriority.HIGH,
    tags="money",
    due_after="2026-12-24",
    sort=ListTasksSort.DUE_DATE,
)
assert narrowed == [rent]
cleared = update_task.sync(USER, rent.id, client=api, body=TaskChanges(due_date=None, tags=None))
assert isinstance(cleared, Task)
assert (cleared.due_date, cleared.tags) == (None, [])
stats = get_stats.sync(USER, client=api)
assert isinstance(stats, Stats)
assert (stats.total, stats.pending, stats.completed) == (6, 6, 0)

done = complete_task.sync(USER, task.id, client=api, body=Completion(completed=True))
assert isinstance(done, Task)
assert done.completed

blank = create_task.sync(USER, client=api, body=TaskCreate(" "))
assert isinstance(blank, Problem)
assert not isinstance(blank.errors, Unset)
assert blank.errors[0].field == "title"

assert delete_task.sync_detailed(USER, task.id, client=api).status_code == HTTPStatus.NO_CONTENT
gone = get_task.sync(USER, task.id, client=api)
assert isinstance(gone, Problem)
assert gone.status == HTTPStatus.NOT_FOUND
