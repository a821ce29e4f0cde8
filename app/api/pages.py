"""Pages of tasks by keyset: each starts after the row that the one before it ended with."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator
from starlette.datastructures import URL

from app.api.schemas import NO_NUL, Text
from app.problems import Invalid

# As to_json writes it. PostgreSQL would take much more for a time: now, infinity, any zone.
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00:00")
MAX_SEARCH_LENGTH = 100  # the worst text to find takes as many steps for each character looked through

# The member of a task that it is sorted by, besides its id.
KEYS = {"created": None, "updated": "updated_at", "title": "title"}

Sort = Literal["created", "updated", "title"]
Order = Literal["asc", "desc"]

# Parameters of other clients of the brief: their name here, and their values' meanings.
SORTS = {sort: sort for sort in KEYS} | {"created_at": "created", "updated_at": "updated"}
OTHER_NAMES = {
    "sort_by": ("sort", SORTS),
    "sort_order": ("order", {"asc": "asc", "desc": "desc"}),
    "completed": ("status", {"true": "completed", "false": "pending"}),
}
# They would get page 1 for ever.
FIRST_PAGES = {"skip": ("0",), "offset": ("0",), "page": ("0", "1")}


class Cursor(BaseModel, strict=True):
    """The last row of a page, and the ordering it was the last of."""

    sort: Sort
    order: Order
    key: Text | None
    id: Annotated[int, Field(ge=1, lt=2**63)]

    @model_validator(mode="after")
    def _has_a_key_of_its_sort(self) -> Self:
        if self.sort == "updated":
            if not TIMESTAMP.fullmatch(self.key or ""):
                raise ValueError("is no time stamp")
            datetime.fromisoformat(self.key or "")
        elif (self.key is None) != (self.sort == "created"):
            raise ValueError("is no key of this sort")
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


class Page(BaseModel, frozen=True):
    """The parameters of a listing."""

    status: Annotated[
        Literal["all", "pending", "completed"],
        Field(description="Which tasks to list; `completed=true` and `false` mean the same."),
    ] = "all"
    search: Annotated[
        Text,
        Field(
            description="A part of the title or description, in any case; empty for none.",
            max_length=MAX_SEARCH_LENGTH,
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = ""
    sort: Annotated[
        Sort,
        BeforeValidator(lambda value: SORTS.get(value, value)),
        Field(description="What to order by; titles by code point. `sort_by` means the same."),
    ] = "created"
    order: Annotated[
        Order | None,
        Field(
            description="The direction; desc, or asc for titles, where it is not given."
            " `sort_order` means the same."
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
        """Take other clients' names for those of the contract, which win where both are sent."""
        for name, first in FIRST_PAGES.items():
            if given.get(name, "0") not in first:
                raise Invalid((name, "is no parameter here; the Link header leads to the next page"))
        for name, (own, meanings) in OTHER_NAMES.items():
            if name in given and own not in given:
                if given[name] not in meanings:
                    raise Invalid((name, f"must be {', '.join(meanings)}"))
                given = given | {own: meanings[given[name]]}
        return given

    @property
    def ordering(self) -> tuple[Sort, Order]:
        """What is sorted by, and in which direction."""
        return self.sort, self.order or ("asc" if self.sort == "title" else "desc")

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
    cursor = Cursor(sort=sort, order=order, key=KEYS[sort] and task[KEYS[sort]], id=task["id"])
    opaque = urlsafe_b64encode(cursor.model_dump_json().encode()).decode()
    return f'<{URL(f"{path}?{query}").include_query_params(cursor=opaque)}>; rel="next"'
