"""What goes in and out as JSON. Types are checked here; which values are allowed, the database decides."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, NoReturn, NotRequired

from fastapi import Request
from pydantic import AfterValidator, Field, StrictBool, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # Pydantic asks for this one before Python 3.12

from app.postgres.connection import Value
from app.problems import Invalid, Problem, invalid

LONGEST_BODY = 65536  # bytes
BLANK = b" \t\r\n"
UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# The database trims and measures a title; for OpenAPI this says the same, with Unicode's White_Space.
SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
TITLE = rf"^[{SPACE}]*[^{SPACE}\u0000]([^\u0000]{{0,198}}[^{SPACE}\u0000])?[{SPACE}]*$"
NO_NUL = r"^[^\u0000]*$"


def _storable(value: str) -> str:
    if UNSTORABLE.search(value):
        raise ValueError("must not contain U+0000 or a lone surrogate")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Title = Annotated[
    Text,
    Field(
        description="1 to 200 characters, after white space at both ends is taken off.",
        examples=["Buy milk"],
        json_schema_extra={"pattern": TITLE},
    ),
]
Description = Annotated[
    Annotated[Text, Field(json_schema_extra={"maxLength": 1000, "pattern": NO_NUL})] | None,
    Field(description="At most 1000 characters, kept as sent; null for none.", examples=["The blue one"]),
]
Completed = Annotated[StrictBool, Field(description="Whether it is done.", examples=[False])]


class TaskCreate(TypedDict):
    """A task to create. Other members are ignored."""

    title: Title
    description: NotRequired[Description]
    completed: NotRequired[Completed]


class TaskChanges(TypedDict, total=False):
    """The members to change; the others stay as they are."""

    title: Title
    description: Description
    completed: Completed


class Completion(TypedDict, total=False):
    """The status to set; without it, the status is toggled."""

    completed: Completed


class Task(TypedDict):
    """A task."""

    id: Annotated[int, Field(description="Counted within each user.", ge=1, examples=[7])]
    user_id: Annotated[
        str, Field(description="Whose it is.", min_length=1, max_length=255, examples=["alice"])
    ]
    title: Annotated[str, Field(min_length=1, max_length=200, examples=["Buy milk"])]
    description: Annotated[str | None, Field(examples=[None])]
    completed: Annotated[bool, Field(examples=[False])]
    version: Annotated[
        int, Field(description="Grows by 1 with every real change; the ETag.", ge=1, examples=[3])
    ]
    created_at: Annotated[datetime, Field(examples=["2026-11-20T09:30:00.123456+00:00"])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-20T09:31:00+00:00"])]


CREATE = TypeAdapter(TaskCreate)
CHANGES = TypeAdapter(TaskChanges)
COMPLETION = TypeAdapter(Completion)


async def read_body(request: Request, shape: TypeAdapter[Any], *, blank: bytes = b"") -> dict[str, Value]:
    """Read a JSON body of at most LONGEST_BODY bytes, whatever its Content-Type; `blank` stands in for none.

    Read here, since FastAPI would read it before it asks who calls.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LONGEST_BODY:
            raise Problem(413, f"The body must have at most {LONGEST_BODY} bytes")
    try:
        value = json.loads(
            (raw if raw.strip(BLANK) else blank).decode(),
            parse_int=float,  # no member is a number; int would refuse a very long one
            parse_constant=_refuse,
        )
    except RecursionError:
        raise Invalid(("body", "is nested too deeply")) from None
    except ValueError:
        raise Problem(400, "The body must be JSON in UTF-8") from None
    try:
        members: dict[str, Value] = shape.validate_python(value)
    except ValidationError as error:
        raise invalid(error) from None
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
