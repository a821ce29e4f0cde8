"""What a request says in its path and headers about the one task it is for (RFC 9110, section 13)."""

import re
from collections.abc import Mapping

from fastapi import Request
from starlette.responses import Response

from app.postgres.connection import Result, Row, rows
from app.problems import Invalid, Problem

INTEGER = re.compile("-?[0-9]+")
BIGINT = re.compile("[0-9]{1,18}")
MEMBER = re.compile('(?:W/)?"[^"]*"[^,]*|[^,\\s][^,]*')  # of a list of entity tags, which may hold commas
PRIVATE = {"Cache-Control": "private, no-cache"}


def task_id(request: Request) -> int:
    """Return the id in the path, or 0, which no task has, for one that is too large or negative."""
    given = request.path_params["task_id"]
    if not INTEGER.fullmatch(given):
        raise Invalid(("task_id", "must be an integer"))
    return int(given) if BIGINT.fullmatch(given) else 0


def field_value(request: Request, name: str) -> str | None:
    """Return a header's value, its lines joined (RFC 9110, section 5.3), or None where there is none."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def etag(version: bytes) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version.decode()}"'


def etags(request: Request) -> str | None:
    """Return the entity tags of If-Match, a line each; None where any version will do.

    They are compared as they stand, so that a weak or malformed one matches nothing.
    """
    value = field_value(request, "if-match")
    return None if value is None or value.strip() == "*" else "\n".join(_members(value))


def unchanged(request: Request, tag: str) -> bool:
    """Tell whether If-None-Match holds the tag, compared weakly."""
    value = field_value(request, "if-none-match")
    if value is None:
        return False
    return value.strip() == "*" or tag in (member.removeprefix("W/") for member in _members(value))


def _members(value: str) -> list[str]:
    return [member.strip() for member in MEMBER.findall(value)]


def require_task(result: Result) -> Row:
    """Return the one row; raise Problem where there is no such task, or only another version of it."""
    if not result.ntuples:
        raise Problem(404, "Task not found")
    (row,) = rows(result)
    if row[-1] is None:
        raise Problem(412, "The task has another version than If-Match names")
    return row


def json_response(body: bytes, headers: Mapping[str, str], status: int = 200) -> Response:
    """Answer with JSON as the database made it."""
    return Response(body, status, {**PRIVATE, **headers}, "application/json" if body else None)
