"""All SQL that the API runs for its users: what varies in it is a parameter, but for the parts of a list."""

from functools import cache
from typing import NamedTuple

from app.api.pages import Order, Page, Sort
from app.postgres.connection import Value

# In the order of the JSON.
COLUMNS = "id, user_id, title, description, completed, version, created_at, updated_at"

CREATE_TASK = f"""
with created as (
  insert into app.tasks (title, description, completed)
  values (app.trimmed(%(title)s), %(description)s, %(completed)s)
  returning {COLUMNS}
)
select to_json(created), version, id, false, true
from created
"""

CREATE_TASK_ONCE = """
select task, version, id, replayed, same
from app.create_task_once(%(key)s, %(title)s, %(description)s, %(completed)s)
"""

GET_TASK = f"""
select to_json(task), version
from (select {COLUMNS} from app.tasks where user_id = %(user_id)s and id = %(id)s) as task
"""

# No row: there is no such task. A row of nulls: there is, but If-Match names other versions.
# The lock asks for the task as it is by now: the snapshot still shows one that was deleted meanwhile.
CHANGE_TASK = f"""
with changed as (
  update app.tasks
  set title = coalesce(app.trimmed(%(title)s), title),
    description = case when %(set_description)s then %(description)s else description end,
    completed = case when %(toggle)s then not completed else coalesce(%(completed)s, completed) end
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version || '"' = any(string_to_array(%(etags)s, chr(10))))
  returning {COLUMNS}
)
select to_json(changed), version from changed
union all
select null, null
from (select from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select from changed)
"""

DELETE_TASK = """
with deleted as (
  delete from app.tasks
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version || '"' = any(string_to_array(%(etags)s, chr(10))))
  returning id, version
)
select id, version from deleted
union all
select null, null
from (select from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select from deleted)
"""

LIST_TASKS = f"""
select to_json(task)
from (
  select {COLUMNS}
  from app.tasks
  where user_id = %(user_id)s {{status}} {{search}} {{after}}
  order by {{order}}
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


def list_statement(page: Page) -> tuple[str, dict[str, Value]]:
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
