"""Which page of a list is asked for: the query, and the cursor in it."""

import re
from base64 import b64decode
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from app.api.schemas import NO_NUL, Text
from app.problems import Invalid, invalid

# As to_json writes it. PostgreSQL would take much more for a time: now, infinity, any zone.
STAMP = re.compile(r"[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?\+00:00")

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
            json_schema_extra={"pattern": NO_NUL},
        ),
    ] = None
    sort: Annotated[Sort, Field(description="What to order by; titles by code point.")] = "created"
    order: Annotated[
        Order | None, Field(description="The direction; desc, or asc for titles, where it is not given.")
    ] = None
    limit: Annotated[int, Field(description="How many at most.", ge=1, le=1000), BeforeValidator(_digits)] = (
        100
    )
    cursor: Annotated[
        str | None, Field(description="Where to go on: from the Link header of the page before.")
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


FIRST = Page()
STRAY_CURSOR = Invalid(("cursor", "was not issued for this ordering"))


def read_page(request: Request) -> Page:
    """Read the query; raise Invalid for a parameter that is wrong."""
    if not request.scope["query_string"]:
        return FIRST
    try:
        return Page.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid(error) from None
