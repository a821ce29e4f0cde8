"""The rest of the OpenAPI document: what FastAPI cannot know, since the routes read it themselves."""

from typing import Any

from pydantic import TypeAdapter

from app.api.pages import Page
from app.api.schemas import CHANGES, COMPLETION, CREATE, Task
from app.problems import TITLES

Json = dict[str, Any]
SCHEMAS = "#/components/schemas/"


def _parameter(name: str, where: str, description: str, schema: Json) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": schema,
    }


USER_ID = _parameter(
    "user_id", "path", "The user whom the token names.", {"type": "string", "minLength": 1, "maxLength": 255}
)
TASK_ID = _parameter("task_id", "path", "The task.", {"type": "integer"})
IF_MATCH = _parameter("If-Match", "header", "Only if the task has one of these versions.", {"type": "string"})
IF_NONE_MATCH = _parameter("If-None-Match", "header", "Only if it has none of these.", {"type": "string"})
KEY = _parameter(
    "Idempotency-Key",
    "header",
    "Makes a repeat of the request create nothing more, for 24 hours.",
    {"type": "string", "pattern": "^[ -~]{1,255}$"},
)

PROBLEM: Json = {
    "type": "object",
    "description": "A problem (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For a person."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

HEADERS: dict[str, str] = {
    "X-Request-ID": "The client's, or a new one.",
    "ETag": "The task's version, quoted.",
    "Location": "The new task.",
    "Idempotency-Replayed": "`true` where the task was created by an earlier request.",
    "Link": 'The next page, as `<...>; rel="next"`; absent on the last.',
    "WWW-Authenticate": "`Bearer`, and why the token was refused.",
    "Retry-After": "Seconds.",
}

TASK = {"$ref": SCHEMAS + "Task"}
ANSWERS: dict[str, Json] = {
    "list_tasks": {"200": ("The tasks.", {"type": "array", "items": TASK}, "Link")},
    "create_task": {"201": ("The task.", TASK, "ETag", "Location", "Idempotency-Replayed")},
    "get_task": {"200": ("The task.", TASK, "ETag"), "304": ("The client has it already.", None, "ETag")},
    **{key: {"200": ("The task.", TASK, "ETag")} for key in ("replace_task", "update_task", "complete_task")},
    "delete_task": {"204": ("It is gone.", None)},
}
PROBLEMS = {
    "list_tasks": (401, 403, 422, 503),
    "create_task": (400, 401, 403, 413, 422, 503),
    "get_task": (401, 403, 404, 422, 503),
    **dict.fromkeys(
        ("replace_task", "update_task", "complete_task"), (400, 401, 403, 404, 412, 413, 422, 503)
    ),
    "delete_task": (401, 403, 404, 412, 422, 503),
    "get_ready": (503,),
}
PARAMETERS = {
    "create_task": [KEY],
    "get_task": [IF_NONE_MATCH],
    **{key: [IF_MATCH] for key in ("replace_task", "update_task", "complete_task", "delete_task")},
}
BODIES = {
    "create_task": ("TaskCreate", True),
    "replace_task": ("TaskChanges", True),
    "update_task": ("TaskChanges", True),
    "complete_task": ("Completion", False),
}


def _answer(description: str, schema: Json | None, *headers: str, media: str = "application/json") -> Json:
    named = {
        name: {"description": HEADERS[name], "schema": {"type": "string"}}
        for name in ("X-Request-ID", *headers)
    }
    content = {"content": {media: {"schema": schema}}} if schema else {}
    return {"description": description, "headers": named, **content}


def _problem(status: int) -> Json:
    headers = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}.get(status, ())
    return _answer(TITLES[status], {"$ref": SCHEMAS + "Problem"}, *headers, media="application/problem+json")


def _query() -> list[Json]:
    properties = Page.model_json_schema()["properties"]
    for schema in properties.values():
        if "anyOf" in schema:  # or null, which a query cannot say
            del schema["default"]
            schema.update(schema.pop("anyOf")[0])
    return [
        _parameter(name, "query", schema.pop("description"), schema) for name, schema in properties.items()
    ]


def complete(document: Json) -> Json:
    """Add bodies, parameters, headers and problems to the document that FastAPI makes."""
    schemas: dict[str, TypeAdapter[Any]] = {
        "Task": TypeAdapter(Task),
        "TaskCreate": CREATE,
        "TaskChanges": CHANGES,
        "Completion": COMPLETION,
    }
    document["components"]["schemas"] = {name: shape.json_schema() for name, shape in schemas.items()}
    document["components"]["schemas"]["Problem"] = PROBLEM
    for path, operations in document["paths"].items():
        for operation in operations.values():
            name = operation["operationId"]
            if name in ANSWERS:
                operation["responses"] = {
                    status: _answer(*answer) for status, answer in ANSWERS[name].items()
                }
            operation["responses"] |= {str(status): _problem(status) for status in PROBLEMS.get(name, ())}
            operation["parameters"] = _query() if name == "list_tasks" else PARAMETERS.get(name, [])
            if name in BODIES:
                schema, required = BODIES[name]
                content = {"application/json": {"schema": {"$ref": SCHEMAS + schema}}}
                operation["requestBody"] = {"content": content, "required": required}
        shared = [p for p in (USER_ID, TASK_ID) if f"{{{p['name']}}}" in path]
        if shared:
            operations["parameters"] = shared
    return document
