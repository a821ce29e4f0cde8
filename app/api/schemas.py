"""What goes in and out as JSON. Types are checked here; which values are allowed, the database decides."""

import re
from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, Field, StrictBool
from typing_extensions import TypedDict  # Pydantic asks for this one before Python 3.12

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
        json_schema_extra={"minLength": 1, "maxLength": 200, "pattern": TITLE},
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


class FieldProblem(TypedDict):
    """What is wrong with one field."""

    field: Annotated[str, Field(description="The member, parameter or header; `body` for the whole body.")]
    message: str


class Problem(TypedDict):
    """A problem (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: Annotated[str, Field(description="For a person.")]
    errors: NotRequired[list[FieldProblem]]
