"""The task endpoints: each runs one statement of app.api.statements."""

from functools import lru_cache
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Body, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from app.api import statements
from app.api.pages import Page, next_page
from app.api.preconditions import (
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    TaskId,
    etag,
    field_value,
    is_unchanged,
    wanted_etags,
)
from app.api.responses import documented, json_response, problems
from app.api.routing import UserSession
from app.api.schemas import Completion, OtherNames, Stats, Task, TaskChanges, TaskCreate
from app.api.state import services_of
from app.postgres.connection import Row, Value
from app.postgres.database import Session
from app.problems import Invalid, Problem

TOGGLE = Completion()
MAX_ENCODED = 1024  # percent-encoded user ids that are cached

ALWAYS = problems(401, 403, 422, 503)
LISTED = documented(200, "The tasks.", "Link", "X-Total-Count") | problems(414) | ALWAYS
WITH_BODY = problems(400, 413, 415) | ALWAYS
CREATED = documented(201, "The task.", "ETag", "Location", "Idempotency-Replayed") | WITH_BODY
FOUND = documented(200, "The task.", "ETag")
READ = FOUND | documented(304, "The task has the ETag in If-None-Match.", "ETag") | problems(404) | ALWAYS
CHANGED = FOUND | problems(404, 412) | WITH_BODY
COUNTED = documented(200, "The counts of the tasks.") | ALWAYS
DELETED = documented(204, "The task is deleted.") | problems(404, 412) | ALWAYS

router = APIRouter(
    prefix="/api/{user_id}",
    tags=["tasks"],
    generate_unique_id_function=lambda route: route.name,
)


@router.get("/tasks", response_model=list[Task], responses=LISTED)
async def list_tasks(session: UserSession, page: Annotated[Page, Query()], request: Request) -> Response:
    """List one page of tasks. If there are more, the `Link` header has the URL of the next page."""
    statement, values = statements.list_page(page)
    rows = await session.read(statement, **values)
    listed = [row[0] for row in rows if row[0] is not None]
    headers = {b"x-total-count": b"%d" % rows[0][1]} if page.count else {}
    if len(listed) > page.limit:
        listed.pop()
        query = request.scope["query_string"].decode("latin-1")  # as Starlette's QueryParams
        headers[b"link"] = next_page(query, path_of(session, request), page, listed[-1]).encode("latin-1")
    return json_response(f"[{','.join(listed)}]", headers)


@router.post("/tasks", status_code=201, response_model=Task, responses=CREATED)
async def create_task(
    session: UserSession,
    task: Annotated[TaskCreate, OtherNames, Body()],
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a task. A repeated request with the same `Idempotency-Key` returns the task of the first one."""
    sent, key = to_json(task).decode(), field_value(idempotency_key)
    if key is None:
        (created,) = await session.write(statements.CREATE_TASK, sent=sent)
    else:
        (created,) = await session.write_with_retry(statements.CREATE_TASK_ONCE, key=key, sent=sent)
    body, version, number, replayed, same = created
    if not same:
        raise Invalid(("Idempotency-Key", "has been used for another task"))
    headers = {b"location": f"{path_of(session, request)}/{number}".encode(), b"etag": etag(version)}
    if replayed:
        headers[b"idempotency-replayed"] = b"true"
    return json_response(body, headers, 201)


@router.get("/tasks/{task_id}", response_model=Task, responses=READ)
async def get_task(session: UserSession, task_id: TaskId, if_none_match: IfNoneMatch = None) -> Response:
    """Read a task. The response is 304 without a body if the task has the ETag in `If-None-Match`."""
    body, version = require_task(await session.read(statements.GET_TASK, id=task_id))
    headers = {b"etag": etag(version)}
    if is_unchanged(if_none_match, headers[b"etag"]):
        return json_response("", headers, 304)
    return json_response(body, headers)


@router.patch("/tasks/{task_id}", response_model=Task, responses=CHANGED)
@router.put("/tasks/{task_id}", name="put_task", response_model=Task, responses=CHANGED)
async def update_task(
    session: UserSession,
    task_id: TaskId,
    changes: Annotated[TaskChanges, OtherNames, Body()],
    if_match: IfMatch = None,
) -> Response:
    """Change the members that are present. `null` clears description, due_date, category and tags."""
    return await _update(
        session, task_id, if_match, statements.change(changes), sent=to_json(changes).decode()
    )


@router.patch("/tasks/{task_id}/complete", response_model=Task, responses=CHANGED)
async def complete_task(
    session: UserSession,
    task_id: TaskId,
    completion: Annotated[Completion, OtherNames, Body()] = TOGGLE,
    if_match: IfMatch = None,
) -> Response:
    """Set `completed`. Without a body or with an empty object, toggle it."""
    if not completion:
        return await _update(session, task_id, if_match, statements.TOGGLE_TASK)
    return await _update(
        session, task_id, if_match, statements.change(completion), sent=to_json(completion).decode()
    )


@router.delete("/tasks/{task_id}", status_code=204, responses=DELETED)
async def delete_task(session: UserSession, task_id: TaskId, if_match: IfMatch = None) -> Response:
    """Delete a task. Its id is not used again."""
    await _change(session, task_id, if_match, statements.DELETE_TASK)
    return json_response("", {}, 204)


@router.get("/stats", response_model=Stats, responses=COUNTED)
async def get_stats(session: UserSession) -> Response:
    """Count all, pending and completed tasks."""
    ((stats,),) = await session.read(statements.COUNT_TASKS)
    return json_response(stats, {})


async def _update(
    session: UserSession, task_id: int, if_match: IfMatch, change: statements.Change, **sent: Value
) -> Response:
    body, version = await _change(session, task_id, if_match, change, **sent)
    return json_response(body, {b"etag": etag(version)})


async def _change(
    session: UserSession, task_id: int, if_match: IfMatch, change: statements.Change, **sent: Value
) -> Row:
    etags = wanted_etags(if_match)
    if etags is None:
        return require_task(await session.write(change.any_version, id=task_id, **sent))
    return require_task(await session.write(change.if_match, id=task_id, etags=etags, **sent))


def path_of(session: Session, request: Request) -> str:
    """Return the path of a user's tasks as clients see it, with the prefix that a proxy removes."""
    return f"{services_of(request.scope).root_path}/api/{_segment(session.user)}/tasks"


@lru_cache(MAX_ENCODED)
def _segment(user: str) -> str:
    segment = quote(user, safe="")
    if segment in {".", ".."}:  # clients remove these from a path (RFC 3986, section 5.2.4)
        segment = segment.replace(".", "%2E")
    return segment


def require_task(rows: list[Row]) -> Row:
    """Return the only row. Raise a 404 if there is no such task, and a 412 if If-Match does not match."""
    if not rows:
        raise Problem(404, "Task not found")
    (row,) = rows
    if row[-1] is None:
        raise Problem(412, "The task does not have the version in If-Match")
    return row
