"""Pages of tasks by keyset: each starts after the row that the one before it ended with."""

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from fastapi import Request

from app.api.pages import Cursor, Order, Page, Sort
from app.postgres.connection import Value

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

# The member of a task that it is sorted by, besides its id.
KEYS = {"created": None, "updated": "updated_at", "title": "title"}


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


def next_page(request: Request, path: str, page: Page, last: bytes) -> str:
    """Make the Link (RFC 8288) to the page after the row `last`, every other parameter kept."""
    task = json.loads(last)
    sort, order = page.ordering
    cursor = Cursor(sort=sort, order=order, key=KEYS[sort] and task[KEYS[sort]], id=task["id"])
    query = [
        (name, value)
        for name, value in parse_qsl(request.url.query, keep_blank_values=True)
        if name != "cursor"
    ]
    query.append(("cursor", urlsafe_b64encode(cursor.model_dump_json().encode()).decode()))
    return f'<{path}?{urlencode(query)}>; rel="next"'
