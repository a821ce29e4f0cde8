"""JSON schemas of requests and responses.

Types are checked here. The constraints of the database check values, such as the length of a title. The first
sentence of a member's description is also the message if a constraint of its column is violated.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, TypeAdapter
from typing_extensions import TypedDict  # Pydantic needs this one before Python 3.12

from app.problems import Invalid

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
MAX_TAGS = 20

# The characters that the database trims (Unicode property White_Space), for the patterns in the OpenAPI
# document.
SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
WHITE_SPACE = "".join(filter(re.compile(f"[{SPACE}]").match, map(chr, range(0x3001))))
NO_NUL = r"^[^\u0000]*$"

# A valid date from the year 1 on: months of 31 days, months of 30 days, February, and February 29.
LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DATE = (
    "(?!0000)([0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|[0-9]{{4}}-02-(0[1-9]|1[0-9]|2[0-8])|{LEAP_YEAR}-02-29)"
)
LOCAL_TIME = rf"{DATE}(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{{1,9}})?)?)?"
LOCAL_TIME_PATTERN = re.compile(LOCAL_TIME)
LOCAL_TIME_RULE = "Must be a date, or a local date and time without an offset, such as 2026-12-24T18:30:00."


def trimmed(length: int) -> str:
    """Return the pattern of a text that has 1 to `length` characters after trimming."""
    return rf"^[{SPACE}]*[^{SPACE}\u0000]([^\u0000]{{0,{length - 2}}}[^{SPACE}\u0000])?[{SPACE}]*$"


def _message(description: str) -> str:
    """Return the first sentence of a description as a message that follows the name of a field."""
    sentence = description.partition(". ")[0].removesuffix(".")
    return sentence[0].lower() + sentence[1:]


def _storable(value: str) -> str:
    if UNSTORABLE.search(value):
        raise ValueError("must not contain U+0000 or a lone surrogate")
    return value


def _in_full(value: str) -> str:
    """Return a local time as YYYY-MM-DDTHH:MM:SS. Fractions of a second are dropped."""
    if not LOCAL_TIME_PATTERN.fullmatch(value):
        raise ValueError(_message(LOCAL_TIME_RULE))
    return value[:19] + "T00:00:00"[len(value[:19]) - len("YYYY-MM-DD") :]


def _limited(tags: list[str] | None) -> list[str]:
    if tags and len(tags) > MAX_TAGS:
        raise ValueError(f"must be at most {MAX_TAGS}")
    return tags or []


Text = Annotated[str, AfterValidator(_storable)]
LocalTime = Annotated[str, AfterValidator(_in_full)]
# For comparisons: a task that is due at 23:59:59 is due before 23:59:59.999, the end of a day in JavaScript.
ExactLocalTime = Annotated[str, AfterValidator(lambda value: _in_full(value) + value[19:])]
PriorityName = Literal["none", "low", "medium", "high", "urgent"]
LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)

Title = Annotated[
    Text,
    Field(
        description="Must have 1 to 200 characters, not counting white space at either end. It is trimmed.",
        examples=["Buy milk"],
        json_schema_extra={"minLength": 1, "pattern": trimmed(200)},
    ),
]
Description = Annotated[
    Annotated[Text, Field(json_schema_extra={"maxLength": 1000, "pattern": NO_NUL})] | None,
    Field(
        description="Must have at most 1000 characters. It is not trimmed; null for none.",
        examples=["The blue one"],
    ),
]
Completed = Annotated[
    StrictBool, Field(description="Whether the task is completed; `status` means the same.", examples=[False])
]
Priority = Annotated[
    PriorityName,
    LowerCase,
    Field(
        description="Must be none, low, medium, high or urgent. Case is ignored; the default is medium.",
        examples=["high"],
    ),
]
DueDate = Annotated[
    Annotated[LocalTime, Field(json_schema_extra={"pattern": f"^({LOCAL_TIME})?$"})] | None,
    BeforeValidator(lambda value: None if value == "" else value),
    Field(
        description=f"{LOCAL_TIME_RULE} It is not converted between time zones; null for none. `dueDate` "
        "means the same.",
        examples=["2026-12-24T18:30:00"],
    ),
]
Category = Annotated[
    Annotated[Text, Field(json_schema_extra={"pattern": f"{trimmed(50)}|^[{SPACE}]*$"})] | None,
    Field(
        description="Must have at most 50 characters, not counting white space at either end. It is trimmed "
        "and returned in lower case; null for none.",
        examples=["shopping"],
    ),
]
Tags = Annotated[
    Annotated[
        list[Annotated[Text, Field(json_schema_extra={"pattern": trimmed(50)})]],
        # fail_fast: for 30,000 invalid tags Pydantic would otherwise create as many errors, in 0.2 s
        Field(fail_fast=True, json_schema_extra={"maxItems": MAX_TAGS}),
    ]
    | None,
    AfterValidator(_limited),
    Field(
        description="Must have 1 to 50 characters each, not counting white space at either end. At most 20; "
        "duplicates are removed; null for none.",
        examples=[["home", "garden"]],
    ),
]

# The value of `completed` for each status. Responses contain only pending and completed.
STATUSES = {
    "pending": False,
    "completed": True,
    "done": True,
    **dict.fromkeys(("incomplete", "active", "todo", "open"), False),
}


def _rename(sent: Any) -> Any:  # noqa: ANN401 - any JSON
    """Rename members to the names of the schema, which have precedence if both are sent."""
    if not isinstance(sent, dict):
        return sent
    if "dueDate" in sent:
        sent = {"due_date": sent["dueDate"], **sent}
    if "status" in sent and "completed" not in sent:
        if sent["status"] not in list(STATUSES):
            raise Invalid(("status", "must be pending or completed"))
        sent = {**sent, "completed": STATUSES[sent["status"]]}
    return sent


OtherNames = BeforeValidator(_rename)


class _WithTitle(TypedDict):
    title: Title


class _MaybeWithTitle(TypedDict, total=False):
    title: Title


class _OtherMembers(TypedDict, total=False):
    description: Description
    completed: Completed
    priority: Priority
    due_date: DueDate
    category: Category
    tags: Tags


class TaskCreate(_WithTitle, _OtherMembers):
    """A task to create. Other members are ignored."""


class TaskChanges(_MaybeWithTitle, _OtherMembers):
    """The members to change. Members that are absent are not changed."""


# The member and the message, by the prefix of the violated constraint: tasks_title_ for tasks_title_length.
RULES = {
    f"tasks_{name}_": (name, _message(schema["description"]))
    for name, schema in TypeAdapter(TaskChanges).json_schema()["properties"].items()
}


class Completion(TypedDict, total=False):
    """The status to set. If it is absent, the status is toggled."""

    completed: Completed


class Task(TypedDict):
    """A task."""

    id: Annotated[int, Field(description="The ids of each user start at 1.", ge=1, examples=[7])]
    user_id: Annotated[
        str, Field(description="The owner of the task.", min_length=1, max_length=255, examples=["alice"])
    ]
    title: Annotated[str, Field(min_length=1, max_length=200, examples=["Buy milk"])]
    description: Annotated[str | None, Field(examples=[None])]
    completed: Annotated[bool, Field(examples=[False])]
    status: Annotated[
        Literal["pending", "completed"],
        Field(description="The value of `completed` as a word.", examples=["pending"]),
    ]
    priority: Annotated[PriorityName, Field(examples=["medium"])]
    due_date: Annotated[
        Annotated[
            str,
            Field(json_schema_extra={"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$"}),
        ]
        | None,
        Field(description="A local date and time without an offset.", examples=["2026-12-24T18:30:00"]),
    ]
    category: Annotated[str | None, Field(examples=[None])]
    tags: Annotated[list[str], Field(examples=[["home"]])]
    version: Annotated[
        int,
        Field(
            description="Increases by 1 with each request that changes a value. It is the ETag.",
            ge=1,
            examples=[3],
        ),
    ]
    created_at: Annotated[datetime, Field(examples=["2026-11-20T09:30:00.123456+00:00"])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-20T09:31:00+00:00"])]


class Stats(TypedDict):
    """How many tasks a user has."""

    total: Annotated[int, Field(ge=0, examples=[3])]
    pending: Annotated[int, Field(ge=0, examples=[2])]
    completed: Annotated[int, Field(ge=0, examples=[1])]


class FieldProblem(TypedDict):
    """An error of one field."""

    field: Annotated[str, Field(description="The member, parameter or header; `body` for the whole body.")]
    message: str


class Problem(TypedDict):
    """A problem (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: Annotated[str, Field(description="An explanation for people to read.")]
    errors: NotRequired[list[FieldProblem]]
