"""Pages of tasks by keyset: each starts after the row that the one before it ended with."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from functools import cache
from typing import Annotated, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from app.connection import Row, Value
from app.models import NO_NUL, Text
from app.problems import Invalid, invalid

LIST_TASKS = """
select to_json(task)
from (
  select id, user_id, title, description, completed, version, created_at, updated_at
  from app.tasks
  where user_id = %(user_id)s {status} {search} {after}
  order by {order}
  limit %(limit)s
) as task
"""

STATUS = {"all": "", "pending": "and not completed", "completed": "and completed"}

# strpos has no wildcards to escape.
SEARCH = """and (strpos(lower(title), lower(%(search)s::text)) > 0
    or strpos(lower(description), lower(%(search)s::text)) > 0)"""


class Ordering(NamedTuple):
    """The condition of the rows after one, and their order."""

    after: str
    order: str


# By created means by id: ids are given in the order of creation, and the primary key serves them.
ORDERINGS = {
    ("created", "desc"): Ordering("and id < %(id)s", "id desc"),
    ("created", "asc"): Ordering("and id > %(id)s", "id"),
    ("updated", "desc"): Ordering(
        "and (updated_at, id) < (%(key)s::timestamptz, %(id)s)",
        "updated_at desc, id desc",
    ),
    ("updated", "asc"): Ordering("and (updated_at, id) > (%(key)s::timestamptz, %(id)s)", "updated_at, id"),
    ("title", "desc"): Ordering(
        'and (title collate "C", id) < (%(key)s, %(id)s)', 'title collate "C" desc, id desc'
    ),
    ("title", "asc"): Ordering('and (title collate "C", id) > (%(key)s, %(id)s)', 'title collate "C", id'),
}

# As to_json writes it. PostgreSQL would take much more for a time: now, infinity, any zone.
STAMP = re.compile(r"[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?\+00:00")

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


def listing(page: Page) -> tuple[str, dict[str, Value]]:
    """Return the statement for a page and one row more, and its parameters besides the user."""
    cursor = page.after()
    statement = _statement(page.status, page.search is not None, page.ordering, cursor is not None)
    values: dict[str, Value] = {"limit": page.limit + 1, "search": page.search}
    return statement, values | ({"key": cursor.key, "id": cursor.id} if cursor else {})


@cache
def _statement(status: str, search: bool, ordering: tuple[Sort, Order], after: bool) -> str:
    beyond, order = ORDERINGS[ordering]
    return LIST_TASKS.format(
        status=STATUS[status],
        search=SEARCH if search else "",
        after=beyond if after else "",
        order=order,
    )


def next_page(request: Request, path: str, page: Page, last: Row) -> str:
    """Make the Link (RFC 8288) to the page after the row `last`, every other parameter kept."""
    task = json.loads(last[0])
    sort, order = page.ordering
    cursor = Cursor(sort=sort, order=order, key=KEYS[sort] and task[KEYS[sort]], id=task["id"])
    query = [
        (name, value)
        for name, value in parse_qsl(request.url.query, keep_blank_values=True)
        if name != "cursor"
    ]
    query.append(("cursor", urlsafe_b64encode(cursor.model_dump_json().encode()).decode()))
    return f'<{path}?{urlencode(query)}>; rel="next"'
