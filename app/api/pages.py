"""Keyset pagination: a page starts after the last row of the previous page.

Pages neither repeat nor skip a task, unless its place in the order changes. In the order of creation, page
1,000 costs as much as page 1. The cursor contains the sort key and the id of the last row. It is not signed:
a forged cursor only chooses another start within the user's own tasks.
"""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlencode

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from app.api.schemas import (
    LOCAL_TIME,
    NO_NUL,
    STATUSES,
    WHITE_SPACE,
    ExactLocalTime,
    LocalTime,
    LowerCase,
    PriorityName,
    Text,
)
from app.problems import Invalid

# The format of to_json. PostgreSQL itself would accept more, such as now, infinity and any time zone.
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00:00")
MAX_SEARCH_LENGTH = 100  # characters; the cost of the worst search grows with this limit

Sort = Literal["created", "updated", "title", "priority", "due_date", "status"]
Order = Literal["asc", "desc"]
Status = Literal["all", "pending", "completed"]
ASCENDING = {"title", "due_date", "status"}  # sort keys whose default order is asc

# Values that other clients send for `sort` and `status`, and for `completed`, which is an alias of `status`.
SORTS = {
    "created_at": "created",
    "createdAt": "created",
    "created_date": "created",
    "date": "created",
    "updated_at": "updated",
    "updatedAt": "updated",
    "alpha": "title",
    "dueDate": "due_date",
}
WORDS = {word: "completed" if completed else "pending" for word, completed in STATUSES.items()}
COMPLETED = {"true": "completed", "false": "pending"}
# Offset pagination is refused beyond the first page. If it were ignored, every page would be page 1.
FIRST_PAGES = {"skip": ("0",), "offset": ("0",), "page": ("0", "1")}


def _timestamp(value: str) -> str:
    if not TIMESTAMP.fullmatch(value):
        raise ValueError("is not a timestamp")
    datetime.fromisoformat(value)
    return value


def _in_response_format(value: str) -> str:
    if len(value) != len("YYYY-MM-DDTHH:MM:SS"):
        raise ValueError("is not in the format of a response")
    return value


# For each sort, the member of the task that a cursor contains, and its type. The sort `created` needs only
# the id.
KEYS: dict[Sort, tuple[str, TypeAdapter[Any]]] = {
    "updated": ("updated_at", TypeAdapter(Annotated[str, AfterValidator(_timestamp)])),
    "title": ("title", TypeAdapter(Text)),
    "priority": ("priority", TypeAdapter(PriorityName)),
    "due_date": ("due_date", TypeAdapter(Annotated[LocalTime, BeforeValidator(_in_response_format)] | None)),
    "status": ("status", TypeAdapter(Literal["pending", "completed"])),
}
NO_KEY = TypeAdapter(None)


class Cursor(BaseModel, strict=True):
    """The sort key and the id of the last row of a page, and the ordering of the list."""

    sort: Sort
    order: Order
    key: str | None
    id: Annotated[int, Field(ge=1, lt=2**63)]

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        adapter = KEYS[self.sort][1] if self.sort in KEYS else NO_KEY
        adapter.validate_python(self.key, strict=True)
        return self


def _digits(value: object) -> object:
    """Refuse numbers that are not written in digits: Pydantic would accept 1_0 and 10.0."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be an integer")
    return value


def _boolean(value: object) -> object:
    if value not in ("true", "false", True, False):
        raise ValueError("must be true or false")
    return value


def _no_filter(value: object) -> object:
    """Return None for values that other clients send instead of leaving the filter out."""
    return None if isinstance(value, str) and value.lower() in ("", "all") else value


def _array(value: str) -> str:
    """Return comma-separated tags as an array literal (PostgreSQL, 8.15.6), or "" if there is no filter."""
    tags = [tag for part in value.split(",") if (tag := part.strip(WHITE_SPACE))]
    quoted = ['"{}"'.format(tag.replace("\\", "\\\\").replace('"', '\\"')) for tag in tags]
    return "" if tags in ([], ["all"]) else f"{{{','.join(quoted)}}}"


def _aliases(*names: str) -> Any:  # noqa: ANN401 - as Field's own
    """Accept several names for a parameter. The first one has precedence."""
    return Field(validation_alias=AliasChoices(*names))


LOCAL = WithJsonSchema({"type": "string", "pattern": f"^{LOCAL_TIME}$"})


class Page(BaseModel, frozen=True):
    """The query parameters of a list of tasks."""

    status: Annotated[
        Status,
        BeforeValidator(lambda value: WORDS.get(value, value)),
        Field(description="The status of the tasks; `completed=true` or `false` has the same effect."),
    ] = "all"
    priority: Annotated[
        PriorityName | None,
        LowerCase,
        BeforeValidator(_no_filter),
        Field(description="The priority of the tasks. `all` or an empty value does not filter."),
        WithJsonSchema({"type": "string", "enum": [*get_args(PriorityName), "all", ""]}),
    ] = None
    category: Annotated[
        Annotated[Text, Field(max_length=50), AfterValidator(lambda value: value.strip(WHITE_SPACE))] | None,
        BeforeValidator(_no_filter),
        Field(
            description="The category of the tasks, case-insensitive. `all` or an empty value does "
            "not filter."
        ),
        WithJsonSchema({"type": "string", "maxLength": 50, "pattern": NO_NUL}),
    ] = None
    tags: Annotated[
        Text,
        AfterValidator(_array),
        _aliases("tags", "tag"),
        Field(
            description="Comma-separated tags: lists tasks that have all of them. `all` or an empty value "
            "does not filter. `tag` means the same.",
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = ""
    due_before: Annotated[
        ExactLocalTime | None,
        Field(description="A date or local time: lists tasks that are due before it."),
        LOCAL,
    ] = None
    due_after: Annotated[
        ExactLocalTime | None,
        Field(description="A date or local time: lists tasks that are due at or after it."),
        LOCAL,
    ] = None
    search: Annotated[
        Text,
        _aliases("search", "q"),
        Field(
            description="Text in the title or description, case-insensitive. An empty value does not filter. "
            "`q` means the same.",
            max_length=MAX_SEARCH_LENGTH,
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = ""
    sort: Annotated[
        Sort,
        BeforeValidator(lambda value: SORTS.get(value, value)),
        _aliases("sort", "sort_by"),
        Field(
            description="The sort key. Titles are sorted by code point, priorities by rank. Tasks without a "
            "due date come last. `sort_by` means the same."
        ),
    ] = "created"
    order: Annotated[
        Order | None,
        _aliases("order", "sort_order"),
        Field(
            description="The direction. The default is asc for title, due_date and status, else desc. "
            "`sort_order` means the same."
        ),
        WithJsonSchema({"type": "string", "enum": ["asc", "desc"]}),  # a query has no null
    ] = None
    limit: Annotated[
        int,
        Field(description="The maximum number of tasks on the page.", ge=1, le=1000),
        BeforeValidator(_digits),
    ] = 1000
    count: Annotated[
        bool, BeforeValidator(_boolean), Field(description="Whether the response has `X-Total-Count`.")
    ] = False
    cursor: Annotated[
        str | None,
        Field(description="The start of the page, from the Link header of the previous page."),
        WithJsonSchema({"type": "string"}),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, given: dict[str, str]) -> dict[str, str]:
        """Refuse offset pagination, and translate `completed` to `status` if that is not sent."""
        for name, first in FIRST_PAGES.items():
            if given.get(name, "0") not in first:
                raise Invalid((name, "is not supported; the Link header leads to the next page"))
        if "completed" in given and "status" not in given:
            if given["completed"] not in COMPLETED:
                raise Invalid(("completed", "must be true or false"))
            given = given | {"status": COMPLETED[given["completed"]]}
        return given

    @property
    def ordering(self) -> tuple[Sort, Order]:
        """The sort key and the direction."""
        return self.sort, self.order or ("asc" if self.sort in ASCENDING else "desc")

    def decoded_cursor(self) -> Cursor | None:
        """Return the cursor, if any; raise Invalid if it is malformed or belongs to another ordering."""
        if self.cursor is None:
            return None
        try:
            cursor = Cursor.model_validate_json(b64decode(self.cursor, b"-_", validate=True))
        except ValueError:
            raise _stray_cursor() from None
        if (cursor.sort, cursor.order) != self.ordering:
            raise _stray_cursor()
        return cursor


def _stray_cursor() -> Invalid:
    """Return a new exception. A shared one would keep a reference to each frame of its traceback."""
    return Invalid(("cursor", "was not issued for this ordering"))


def next_page(query: str, path: str, page: Page, last: str) -> str:
    """Return the value of Link (RFC 8288) for the next page.

    `last` is the JSON text of the last task on this page. All other parameters of `query` are kept.
    """
    task = json.loads(last)
    sort, order = page.ordering
    key = task[KEYS[sort][0]] if sort in KEYS else None
    cursor = Cursor(sort=sort, order=order, key=key, id=task["id"])
    opaque = urlsafe_b64encode(cursor.model_dump_json().encode()).decode()
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")  # keeps bytes that are not UTF-8
    kept = urlencode(
        [pair for pair in pairs if pair[0] != "cursor"] + [("cursor", opaque)], encoding="latin-1"
    )
    return f'<{path}?{kept}>; rel="next"'
