"""Task ids, entity tags and preconditions (RFC 9110, section 13), and idempotency keys."""

import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Header, Path
from pydantic import BeforeValidator, WithJsonSchema

from app.api.edge import decoded

INTEGER = re.compile("-?[0-9]+")
BIGINT = re.compile("[0-9]{1,18}")
# One member of a list of entity tags. An entity tag may contain commas.
MEMBER = re.compile('(?:W/)?"[^"]*"[^,]*|[^,\\s][^,]*')


def _task_id(given: str) -> int:
    """Parse an id. Return 0, which no task has, if it is negative or too large for the database."""
    if BIGINT.fullmatch(given):
        return int(given)
    if not INTEGER.fullmatch(decoded(given)):
        raise ValueError("must be an integer")
    return 0


TaskId = Annotated[int, BeforeValidator(_task_id), Path(description="The id of the task.")]

TEXT = WithJsonSchema({"type": "string"})
Lines = list[str] | None  # of a header field
IfMatch = Annotated[
    Lines, TEXT, Header(alias="If-Match", description="Change the task only if it has one of these ETags.")
]
IfNoneMatch = Annotated[
    Lines,
    TEXT,
    Header(alias="If-None-Match", description="Respond with 304 if the task has one of these ETags."),
]
IdempotencyKey = Annotated[
    Lines,
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"}),
    Header(
        alias="Idempotency-Key",
        description="For 24 hours, a request with the same key does not create a second task.",
    ),
]


def field_value(lines: Lines) -> str | None:
    """Return the value of a field from its lines (RFC 9110, section 5.3), or None if there are none."""
    return None if lines is None else ", ".join(lines)


def etag(version: int) -> bytes:
    """Return the strong entity tag of a version."""
    return b'"%d"' % version


def wanted_etags(if_match: Lines) -> str | None:
    """Return the entity tags of If-Match, joined by line feeds, or None if it allows any version.

    The statement compares them as text, so a weak or malformed entity tag does not match.
    """
    value = field_value(if_match)
    return None if value is None or value.strip() == "*" else "\n".join(_members(value))


def is_unchanged(if_none_match: Lines, tag: bytes) -> bool:
    """Return whether If-None-Match contains the entity tag, by weak comparison (RFC 9110, 8.8.3.2)."""
    value = field_value(if_none_match)
    if value is None:
        return False
    return value.strip() == "*" or tag.decode() in (member.removeprefix("W/") for member in _members(value))


def _members(value: str) -> Iterable[str]:
    return [member.strip() for member in MEMBER.findall(value)]
