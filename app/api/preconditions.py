"""What a request's header fields say of the one task it is for (RFC 9110, section 13)."""

import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Header, Path
from pydantic import BeforeValidator, WithJsonSchema

from app.api.edge import decoded

INTEGER = re.compile("-?[0-9]+")
BIGINT = re.compile("[0-9]{1,18}")
MEMBER = re.compile('(?:W/)?"[^"]*"[^,]*|[^,\\s][^,]*')  # of a list of entity tags, which may hold commas


def _task_id(given: str) -> int:
    """Read an id, as 0, which no task has, where it is negative or too large for the database."""
    if not INTEGER.fullmatch(given := decoded(given)):
        raise ValueError("must be an integer")
    return int(given) if BIGINT.fullmatch(given) else 0


TaskId = Annotated[int, BeforeValidator(_task_id), Path(description="The task.")]

TEXT = WithJsonSchema({"type": "string"})
Lines = list[str] | None  # of a header field
IfMatch = Annotated[
    Lines, TEXT, Header(alias="If-Match", description="Only if the task has one of these versions.")
]
IfNoneMatch = Annotated[
    Lines, TEXT, Header(alias="If-None-Match", description="Only if it has none of these.")
]
IdempotencyKey = Annotated[
    Lines,
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"}),
    Header(
        alias="Idempotency-Key",
        description="Makes a repeat of the request create nothing more, for 24 hours.",
    ),
]


def field_value(lines: Lines) -> str | None:
    """Return a field's value, its lines joined (RFC 9110, section 5.3), or None where there is none."""
    return None if lines is None else ", ".join(lines)


def etag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def wanted_etags(if_match: Lines) -> str | None:
    """Return the entity tags of If-Match, a line each; None where any version will do.

    They are compared as they stand, so that a weak or malformed one matches nothing.
    """
    value = field_value(if_match)
    return None if value is None or value.strip() == "*" else "\n".join(_members(value))


def is_unchanged(if_none_match: Lines, tag: str) -> bool:
    """Tell whether If-None-Match holds the tag, compared weakly."""
    value = field_value(if_none_match)
    if value is None:
        return False
    return value.strip() == "*" or tag in (member.removeprefix("W/") for member in _members(value))


def _members(value: str) -> Iterable[str]:
    return [member.strip() for member in MEMBER.findall(value)]
