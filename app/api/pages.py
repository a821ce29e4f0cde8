"""Pages of tasks by keyset: each starts after the row that the one before it ended with."""

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

from app.api.schemas import EDGES, LOCAL_TIME, NO_NUL, STATUSES, AnyCase, LocalTime, Text, Word
from app.problems import Invalid

# As to_json writes it. PostgreSQL would take much more for a time: now, infinity, any zone.
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00:00")
MAX_SEARCH_LENGTH = 100  # the worst text to find takes as many steps for each character looked through

Sort = Literal["created", "updated", "title", "priority", "due_date", "status"]
Order = Literal["asc", "desc"]
Status = Literal["all", "pending", "completed"]
ASCENDING = {"title", "due_date", "status"}  # where no order is given

# Other clients' words for a sort and a status, and other parameters that mean one.
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
# They would get page 1 for ever.
FIRST_PAGES = {"skip": ("0",), "offset": ("0",), "page": ("0", "1")}


def _time_stamp(value: str) -> str:
    if not TIMESTAMP.fullmatch(value):
        raise ValueError("is no time stamp")
    datetime.fromisoformat(value)
    return value


def _as_answered(value: str) -> str:
    if len(value) != len("YYYY-MM-DDTHH:MM:SS"):
        raise ValueError("is not in full")
    return value


# The member of a task that it is sorted by, besides its id, and its type.
KEYS: dict[Sort, tuple[str, TypeAdapter[Any]]] = {
    "updated": ("updated_at", TypeAdapter(Annotated[str, AfterValidator(_time_stamp)])),
    "title": ("title", TypeAdapter(Text)),
    "priority": ("priority", TypeAdapter(Word)),
    "due_date": ("due_date", TypeAdapter(Annotated[LocalTime, BeforeValidator(_as_answered)] | None)),
    "status": ("status", TypeAdapter(Literal["pending", "completed"])),
}
NO_KEY = TypeAdapter(None)


class Cursor(BaseModel, strict=True):
    """The last row of a page, and the ordering it was the last of."""

    sort: Sort
    order: Order
    key: str | None
    id: Annotated[int, Field(ge=1, lt=2**63)]

    @model_validator(mode="after")
    def _has_a_key_of_its_sort(self) -> Self:
        adapter = KEYS[self.sort][1] if self.sort in KEYS else NO_KEY
        adapter.validate_python(self.key, strict=True)
        return self


def _digits(value: object) -> object:
    """Take a number for one only where it is written as one: Pydantic would read 1_0 and 10.0 too."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be an integer")
    return value


def _boolean(value: object) -> object:
    if value not in ("true", "false", True, False):
        raise ValueError("must be true or false")
    return value


def _anything(value: object) -> object:
    """Take what other clients send for no filter as none."""
    return None if isinstance(value, str) and value.lower() in ("", "all") else value


def _array(value: str) -> str:
    """Write comma-separated tags as an array of PostgreSQL (8.15.6); nothing if they filter nothing."""
    tags = [tag for part in value.split(",") if (tag := EDGES.sub("", part))]
    quoted = ['"{}"'.format(tag.replace("\\", "\\\\").replace('"', '\\"')) for tag in tags]
    return "" if tags in ([], ["all"]) else f"{{{','.join(quoted)}}}"


def _or(*names: str) -> Any:  # noqa: ANN401 - as Field's own
    """Give a parameter other clients' names for it, of which its own wins."""
    return Field(validation_alias=AliasChoices(*names))


LOCAL = WithJsonSchema({"type": "string", "pattern": f"^{LOCAL_TIME}$"})


class Page(BaseModel, frozen=True):
    """The parameters of a listing."""

    status: Annotated[
        Status,
        BeforeValidator(lambda value: WORDS.get(value, value)),
        Field(description="Which tasks to list; `completed=true` and `false` mean the same."),
    ] = "all"
    priority: Annotated[
        Word | None,
        AnyCase,
        BeforeValidator(_anything),
        Field(description="Of which priority; `all` or nothing for any."),
        WithJsonSchema({"type": "string", "enum": [*get_args(Word), "all", ""]}),
    ] = None
    category: Annotated[
        Annotated[Text, Field(max_length=50), AfterValidator(lambda value: EDGES.sub("", value))] | None,
        BeforeValidator(_anything),
        Field(description="Of which category, in any case; `all` or nothing for any."),
        WithJsonSchema({"type": "string", "maxLength": 50, "pattern": NO_NUL}),
    ] = None
    tags: Annotated[
        Text,
        AfterValidator(_array),
        _or("tags", "tag"),
        Field(
            description="Tags, with commas between them, all of which a task has; `all` or nothing for any. "
            "`tag` means the same.",
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = ""
    due_before: Annotated[
        LocalTime | None,
        Field(
            description="A date or local time that the due date is before; tasks without one are left out."
        ),
        LOCAL,
    ] = None
    due_after: Annotated[
        LocalTime | None,
        Field(description="A date or local time from which the due date is; tasks without one are left out."),
        LOCAL,
    ] = None
    search: Annotated[
        Text,
        _or("search", "q"),
        Field(
            description="A part of the title or description, in any case; empty for none. `q` means it, too.",
            max_length=MAX_SEARCH_LENGTH,
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = ""
    sort: Annotated[
        Sort,
        BeforeValidator(lambda value: SORTS.get(value, value)),
        _or("sort", "sort_by"),
        Field(
            description="What to order by: titles by code point, priorities by rank, no due date last. "
            "`sort_by` means the same."
        ),
    ] = "created"
    order: Annotated[
        Order | None,
        _or("order", "sort_order"),
        Field(
            description="The direction: if it is absent, asc for title, due_date and status, else desc. "
            "`sort_order` means the same."
        ),
        WithJsonSchema({"type": "string", "enum": ["asc", "desc"]}),  # a query has no null
    ] = None
    limit: Annotated[int, Field(description="How many at most.", ge=1, le=1000), BeforeValidator(_digits)] = (
        1000
    )
    count: Annotated[
        bool, BeforeValidator(_boolean), Field(description="Whether `X-Total-Count` should be answered.")
    ] = False
    cursor: Annotated[
        str | None,
        Field(description="Where to go on: from the Link header of the page before."),
        WithJsonSchema({"type": "string"}),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, given: dict[str, str]) -> dict[str, str]:
        """Refuse pages that are counted; take `completed` for a status, which wins where both are sent."""
        for name, first in FIRST_PAGES.items():
            if given.get(name, "0") not in first:
                raise Invalid((name, "is no parameter here; the Link header leads to the next page"))
        if "completed" in given and "status" not in given:
            if given["completed"] not in COMPLETED:
                raise Invalid(("completed", "must be true or false"))
            given = given | {"status": COMPLETED[given["completed"]]}
        return given

    @property
    def ordering(self) -> tuple[Sort, Order]:
        """What is sorted by, and in which direction."""
        return self.sort, self.order or ("asc" if self.sort in ASCENDING else "desc")

    def after(self) -> Cursor | None:
        """Return the row to go on from; raise Invalid for a forged cursor, or one of another ordering."""
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
    """Return a new exception each time: one that is kept and raised again keeps every frame it passed."""
    return Invalid(("cursor", "was not issued for this ordering"))


def next_page(query: str, path: str, page: Page, last: str) -> str:
    """Make the Link (RFC 8288) to the page after the row `last`, every other parameter kept."""
    task = json.loads(last)
    sort, order = page.ordering
    key = task[KEYS[sort][0]] if sort in KEYS else None
    cursor = Cursor(sort=sort, order=order, key=key, id=task["id"])
    opaque = urlsafe_b64encode(cursor.model_dump_json().encode()).decode()
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "cursor"]
    return f'<{path}?{urlencode([*kept, ("cursor", opaque)])}>; rel="next"'
