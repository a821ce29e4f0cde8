"""All SQL that the API runs for its users: what varies in it is a parameter, but for the parts of a list.

Functions are named with their schema: the best match counts (PostgreSQL, 10.3), and public.to_json(record)
would match better than pg_catalog's. Operators go without: pg_catalog has each for exactly the types that it
is used with here, and app/postgres/safety.py sees to it that nothing else is on the role's search_path.
"""

from typing import NamedTuple

from app.api.pages import Page
from app.postgres.connection import Value

# The members of a task that a client has sent, validated, as one JSON object.
SENT = "%(sent)s::jsonb"


class Column(NamedTuple):
    """How a column is read from SENT, and its default: that of the table, which a test compares."""

    sent: str
    default: str = "null"


# What clients may set, in the order of the JSON. A column more is a line here, a type in schemas.py and a
# migration. Only immutable functions: on a column of a row that is changed, Citus refuses all others.
COLUMNS = {
    "title": Column(f"app.trimmed({SENT} ->> 'title')"),
    "description": Column(f"{SENT} ->> 'description'"),
    "completed": Column(f"({SENT} ->> 'completed')::boolean", "false"),
}

NAMES = ", ".join(COLUMNS)
NEW = ", ".join(f"coalesce({column.sent}, {column.default})" for column in COLUMNS.values())

# A task as it is answered.
TASK = f"id, user_id, {NAMES}, version, created_at, updated_at"

CREATE_TASK = f"""
with created as (
  insert into app.tasks ({NAMES})
  values ({NEW})
  returning {TASK}
)
select pg_catalog.to_json(created), version, id, false, true
from created
"""

# What was kept before a column was added has none: it is answered, and compared, as one with the default.
WANTED = ", ".join(f"'{name}', coalesce({column.sent}, {column.default})" for name, column in COLUMNS.items())
BLANK = ", ".join(f"'{name}', {column.default}" for name, column in COLUMNS.items())
CREATE_TASK_ONCE = f"""
select pg_catalog.to_json(task), task.version, task.id, once.replayed, ({NEW}) is not distinct from ({NAMES})
from app.create_task_once(%(key)s, pg_catalog.json_build_object({WANTED})) as once
cross join lateral (
  select {TASK}
  from pg_catalog.json_populate_record(
    pg_catalog.json_populate_record(null::app.tasks, pg_catalog.json_build_object({BLANK})), once.task)
) as task
"""

GET_TASK = f"""
select pg_catalog.to_json(task), version
from (select {TASK} from app.tasks where user_id = %(user_id)s and id = %(id)s) as task
"""


def _change(changes: str) -> str:
    """Return the statement that makes these changes.

    No row: there is no such task. A row of nulls: there is, but If-Match names other versions. The lock asks
    for the task as it is by now: the snapshot still shows one that was deleted meanwhile.
    """
    return f"""
with changed as (
  update app.tasks
  set {changes}
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version::text || '"'
      = any(pg_catalog.string_to_array(%(etags)s, pg_catalog.chr(10))))
  returning {TASK}
)
select pg_catalog.to_json(changed), version from changed
union all
select null, null
from (select 1 from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select 1 from changed)
"""


# A member that is absent (`?`) keeps its value; null sets null.
CHANGE_TASK = _change(
    ",\n    ".join(
        f"{name} = case when {SENT} ? '{name}' then {column.sent} else {name} end"
        for name, column in COLUMNS.items()
    )
)
TOGGLE_TASK = _change("completed = not completed")

DELETE_TASK = """
with deleted as (
  delete from app.tasks
  where user_id = %(user_id)s and id = %(id)s
    and (%(etags)s::text is null or '"' || version::text || '"'
      = any(pg_catalog.string_to_array(%(etags)s, pg_catalog.chr(10))))
  returning id, version
)
select id, version from deleted
union all
select null, null
from (select 1 from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where %(etags)s::text is not null and not exists (select 1 from deleted)
"""

LIST_TASKS = f"""
select pg_catalog.to_json(task)
from (
  select {TASK}
  from app.tasks
  where user_id = %(user_id)s {{status}} {{search}} {{after}}
  order by {{order}}
  limit %(limit)s
) as task
"""

# A page and the number of all tasks under its filter; where the page is empty, one row without a task.
LIST_AND_COUNT_TASKS = f"""
select listed.task, counted.total
from (select count(*) as total from app.tasks where user_id = %(user_id)s {{status}} {{search}}) as counted
left join ({LIST_TASKS}) as listed (task) on true
"""

STATUS = {"all": "", "pending": "and not completed", "completed": "and completed"}

# strpos has no wildcards to escape.
SEARCH = """and (pg_catalog.strpos(pg_catalog.lower(title), pg_catalog.lower(%(search)s::text)) > 0
    or pg_catalog.strpos(pg_catalog.lower(description), pg_catalog.lower(%(search)s::text)) > 0)"""


# The condition of the rows after one, and their order. By created means by id: ids are given in the order of
# creation, and the primary key serves them.
ORDERINGS = {
    ("created", "desc"): ("and id < %(id)s", "id desc"),
    ("created", "asc"): ("and id > %(id)s", "id"),
    ("updated", "desc"): (
        "and (updated_at, id) < (%(key)s::timestamptz, %(id)s)",
        "updated_at desc, id desc",
    ),
    ("updated", "asc"): ("and (updated_at, id) > (%(key)s::timestamptz, %(id)s)", "updated_at, id"),
    ("title", "desc"): ('and (title collate "C", id) < (%(key)s, %(id)s)', 'title collate "C" desc, id desc'),
    ("title", "asc"): ('and (title collate "C", id) > (%(key)s, %(id)s)', 'title collate "C", id'),
}


def list_page(page: Page) -> tuple[str, dict[str, Value]]:
    """Return the statement for a page and one row more, and its parameters besides the user."""
    cursor = page.after()
    after, order = ORDERINGS[page.ordering]
    statement = (LIST_AND_COUNT_TASKS if page.count else LIST_TASKS).format(
        status=STATUS[page.status],
        search=SEARCH if page.search else "",
        after=after if cursor else "",
        order=order,
    )
    values: dict[str, Value] = {"limit": page.limit + 1, "search": page.search}
    return statement, values | ({"key": cursor.key, "id": cursor.id} if cursor else {})
