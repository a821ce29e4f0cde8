"""Pages of tasks by keyset: each starts after the row that the one before it ended with."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from app.api.schemas import NO_NUL, Text
from app.problems import Invalid

# As to_json writes it. PostgreSQL would take much more for a time: now, infinity, any zone.
STAMP = re.compile(r"[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?\+00:00")
LONGEST_SEARCH = 100  # characters: the worst text to find takes as many steps for each that is looked through

# The member of a task that it is sorted by, besides its id.
KEYS = {"created": None, "updated": "updated_at", "title": "title"}

Sort = Literal["created", "updated", "title"]
Order = Literal["asc", "desc"]


class Cursor(BaseModel, strict=True):
    """The last row of a page, and the ordering it was the last of."""

    sort: Sort
    order: Order
    key: Text | None
    id: Annotated[int, Field(ge=1, lt=2**63)]

    @property
    def plausible(self) -> bool:
        """Whether the key is one that this sort has."""
        if self.sort == "updated":
            return STAMP.fullmatch(self.key or "") is not None
        return (self.key is None) == (self.sort == "created")


def _digits(value: object) -> object:
    """Take a number for one only where it is written as one: Pydantic would read 1_0 and 10.0 too."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be an integer")
    return value


class LeftOut:
    """Marks a parameter that may be left out, since a query has no null."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it as what it is where it is given."""
        described = handler(schema)
        return {**described.pop("anyOf")[0], **described}


class Page(BaseModel):
    """The parameters of a listing."""

    status: Annotated[Literal["all", "pending", "completed"], Field(description="Which tasks to list.")] = (
        "all"
    )
    search: Annotated[
        Text | None,
        Field(
            description="A part of the title or description, in any case.",
            min_length=1,
            max_length=LONGEST_SEARCH,
            json_schema_extra={"pattern": NO_NUL},
        ),
        LeftOut,
    ] = None
    sort: Annotated[Sort, Field(description="What to order by; titles by code point.")] = "created"
    order: Annotated[
        Order | None,
        Field(description="The direction; desc, or asc for titles, where it is not given."),
        LeftOut,
    ] = None
    limit: Annotated[int, Field(description="How many at most.", ge=1, le=1000), BeforeValidator(_digits)] = (
        100
    )
    cursor: Annotated[
        str | None,
        Field(description="Where to go on: from the Link header of the page before."),
        LeftOut,
    ] = None

    @property
    def ordering(self) -> tuple[Sort, Order]:
        """What is sorted by, and in which direction."""
        return self.sort, self.order or ("asc" if self.sort == "title" else "desc")

    def after(self) -> Cursor | None:
        """Return the row to go on from; raise Invalid for a cursor of another ordering, or none of ours."""
        if self.cursor is None:
            return None
        try:
            cursor = Cursor.model_validate_json(b64decode(self.cursor, b"-_", validate=True))
        except ValueError:
            raise STRAY_CURSOR from None
        if (cursor.sort, cursor.order) != self.ordering or not cursor.plausible:
            raise STRAY_CURSOR
        return cursor


STRAY_CURSOR = Invalid(("cursor", "was not issued for this ordering"))


def next_page(query: str, path: str, page: Page, last: str) -> str:
    """Make the Link (RFC 8288) to the page after the row `last`, every other parameter kept."""
    task = json.loads(last)
    sort, order = page.ordering
    cursor = Cursor(sort=sort, order=order, key=KEYS[sort] and task[KEYS[sort]], id=task["id"])
    parameters = [
        (name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "cursor"
    ]
    parameters.append(("cursor", urlsafe_b64encode(cursor.model_dump_json().encode()).decode()))
    return f'<{path}?{urlencode(parameters)}>; rel="next"'
