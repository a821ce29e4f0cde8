"""The task endpoints: each runs one statement."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.listing import listing, next_page
from app.api.pages import read_page
from app.api.preconditions import etag, etags, field_value, json_response, require_task, task_id, unchanged
from app.api.routing import TaskRoute, Tasks
from app.api.schemas import CHANGES, COMPLETION, CREATE, read_body
from app.postgres.connection import Value, column, rows
from app.postgres.database import Session
from app.problems import Invalid

CREATE_TASK = """
with created as (
  insert into app.tasks (title, description, completed)
  values (app.trimmed(%(title)s), %(description)s, %(completed)s)
  returning id, user_id, title, description, completed, version, created_at, updated_at
)
select to_json(created), version, id, false, true
from created
"""

CREATE_TASK_ONCE = """
select task, version, id, replayed, same
from app.create_task_once(%(key)s, %(title)s, %(description)s, %(completed)s)
"""

GET_TASK = """
select to_json(task), version
from (
  select id, user_id, title, description, completed, version, created_at, updated_at
  from app.tasks
  where user_id = %(user_id)s and id = %(id)s
) as task
"""

# No row: there is no such task. A row of nulls: there is, but If-Match names other versions.
# The lock asks for the task as it is by now: the snapshot still shows one that was deleted meanwhile.
CHANGE_TASK = """
with changed as (
  update app.tasks
  set title = coalesce(app.trimmed(%(title)s), title),
    description = case when %(set_description)s then %(description)s else description end,
    completed = case when %(toggle)s then not completed else coalesce(%(completed)s, completed) end
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version || '"' = any(string_to_array(%(etags)s, chr(10))))
  returning id, user_id, title, description, completed, version, created_at, updated_at
)
select to_json(changed), version from changed
union all
select null, null
from (select from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select from changed)
"""

DELETE_TASK = """
with deleted as (
  delete from app.tasks
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version || '"' = any(string_to_array(%(etags)s, chr(10))))
  returning id, version
)
select id, version from deleted
union all
select null, null
from (select from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select from deleted)
"""

router = APIRouter(prefix="/api/{user_id}/tasks", tags=["tasks"], route_class=TaskRoute)

UNCHANGED: dict[str, Value] = {
    "title": None,
    "set_description": False,
    "description": None,
    "toggle": False,
    "completed": None,
}


@router.get("", operation_id="list_tasks", summary="List tasks, newest first")
async def list_tasks(request: Request, tasks: Tasks) -> Response:
    """Answer one page; where more follow, the `Link` header leads to the next."""
    page = read_page(request)
    statement, values = listing(page)
    listed = column(await tasks.read(statement, **values))
    headers = {}
    if len(listed) > page.limit:
        listed.pop()
        headers["Link"] = next_page(request, tasks.path, page, listed[-1])
    return json_response(b"[%b]" % b",".join(listed), headers)


@router.post("", operation_id="create_task", summary="Create a task", status_code=201)
async def create_task(request: Request, tasks: Tasks) -> Response:
    """With an `Idempotency-Key`, a repeat is answered with what the first request created."""
    task = {"description": None, "completed": False, **await read_body(request, CREATE)}
    key = field_value(request, "idempotency-key")
    if key is None:
        created = await tasks.write(CREATE_TASK, **task)
    else:
        created = await tasks.write_again(CREATE_TASK_ONCE, key=key, **task)
    json, version, number, replayed, same = rows(created)[0]
    if same == b"f":
        raise Invalid(("Idempotency-Key", "has been used for another task"))
    headers = {"Location": f"{tasks.path}/{number.decode()}", "ETag": etag(version)}
    if replayed == b"t":
        headers["Idempotency-Replayed"] = "true"
    return json_response(json, headers, 201)


@router.get("/{task_id}", operation_id="get_task", summary="Read a task")
async def get_task(request: Request, tasks: Tasks) -> Response:
    """With `If-None-Match`, a version that the client has is not sent again."""
    json, version = require_task(await tasks.read(GET_TASK, id=task_id(request)))
    headers = {"ETag": etag(version)}
    if unchanged(request, headers["ETag"]):
        return json_response(b"", headers, 304)
    return json_response(json, headers)


@router.put("/{task_id}", operation_id="replace_task", summary="Change a task")
@router.patch("/{task_id}", operation_id="update_task", summary="Change a task")
async def update_task(request: Request, tasks: Tasks) -> Response:
    """Change the members that are present and keep the rest; `null` clears a description."""
    changes = await read_body(request, CHANGES)
    return await _change(request, tasks, changes, set_description="description" in changes)


@router.patch("/{task_id}/complete", operation_id="complete_task", summary="Complete a task, or toggle it")
async def complete_task(request: Request, tasks: Tasks) -> Response:
    """Set `completed`; without a body, or with an empty one, toggle it."""
    completion = await read_body(request, COMPLETION, blank=b"{}")
    return await _change(request, tasks, completion, toggle=not completion)


@router.delete("/{task_id}", operation_id="delete_task", summary="Delete a task", status_code=204)
async def delete_task(request: Request, tasks: Tasks) -> Response:
    """Its id is never given again."""
    require_task(await tasks.write(DELETE_TASK, id=task_id(request), etags=etags(request)))
    return json_response(b"", {}, 204)


async def _change(request: Request, tasks: Session, changes: dict[str, Value], **how: bool) -> Response:
    values = UNCHANGED | changes | how | {"id": task_id(request), "etags": etags(request)}
    json, version = require_task(await tasks.write(CHANGE_TASK, **values))
    return json_response(json, {"ETag": etag(version)})
