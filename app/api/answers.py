"""Answers, and what the OpenAPI document says of them: their headers, and the problems of each route."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from app.api import schemas
from app.problems import PROBLEM_JSON, TITLES

Responses = dict[int | str, dict[str, Any]]
PRIVATE = {"Cache-Control": "private, no-cache"}
BAD_REQUEST = 400

HEADERS = {
    "X-Request-ID": "The client's, or a new one.",
    "ETag": "The task's version, quoted.",
    "Location": "The new task.",
    "Idempotency-Replayed": "`true` where the task was created by an earlier request.",
    "Link": 'The next page, as `<...>; rel="next"`; absent on the last.',
    "X-Total-Count": "With `count=true`, the number of tasks under the filter, on all pages.",
    "WWW-Authenticate": "`Bearer`, and why the token was refused.",
    "Retry-After": "Seconds.",
}
OF_PROBLEM = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}


def json_response(body: str, headers: Mapping[str, str], status: int = 200) -> Response:
    """Answer with JSON as the database made it."""
    return Response(body, status, {**PRIVATE, **headers}, "application/json" if body else None)


def documented(status: int, description: str, *headers: str) -> Responses:
    """Describe a success and the headers that it has besides X-Request-ID."""
    return {status: {"description": description, "headers": _headers(*headers)}}


def problems(*statuses: int) -> Responses:
    """Describe the problems that a route may answer with (RFC 9457)."""
    return {
        status: {
            "description": TITLES[status],
            "model": schemas.Problem,
            "headers": _headers(*OF_PROBLEM.get(status, ())),
        }
        for status in statuses
    }


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": HEADERS[name], "schema": {"type": "string"}}
        for name in ("X-Request-ID", *names)
    }


def as_problem_json(document: dict[str, Any]) -> dict[str, Any]:
    """Give the problems in FastAPI's document their media type: it knows one for all answers of a route."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= BAD_REQUEST and "content" in response:
                    response["content"] = {PROBLEM_JSON: response["content"].pop("application/json")}
    return document
