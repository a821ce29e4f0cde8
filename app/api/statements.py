"""All SQL that the API runs for its users: what varies in it is a parameter, but for the parts of a list.

Functions are named with their schema: the best match counts (PostgreSQL, 10.3), and public.to_json(record)
would match better than pg_catalog's. Operators go without: pg_catalog has each for exactly the types that it
is used with here, and app/postgres/safety.py sees to it that nothing else is on the role's search_path.
"""

from typing import NamedTuple, get_args

from app.api.pages import Page
from app.api.schemas import Word
from app.postgres.connection import Value

# The members of a task that a client has sent, validated, as one JSON object.
SENT = "%(sent)s::jsonb"


class Column(NamedTuple):
    """How a column is read from SENT, and the default of the table, if any: a test compares them."""

    sent: str
    default: str | None = None

    @property
    def new(self) -> str:
        """What a new task has."""
        return f"coalesce({self.sent}, {self.default})" if self.default else self.sent


# What clients may set, in the order of the JSON. A column more is a line here, a type in schemas.py and a
# migration. Only immutable functions: on a column of a row that is changed, Citus refuses all others.
COLUMNS = {
    "title": Column(f"app.trimmed({SENT} ->> 'title')"),
    "description": Column(f"{SENT} ->> 'description'"),
    "completed": Column(f"({SENT} ->> 'completed')::boolean", "false"),
    "priority": Column(f"{SENT} ->> 'priority'", "'medium'"),
    "due_date": Column(f"app.local_time({SENT} ->> 'due_date')"),
    "category": Column(f"nullif(app.trimmed(pg_catalog.lower({SENT} ->> 'category')), '')"),
    "tags": Column(f"app.tags({SENT} -> 'tags')", "'{}'::text[]"),
}


def _each(form: str) -> str:
    """Fill in the form for each column."""
    return ", ".join(
        form.format(name=name, sent=column.sent, new=column.new) for name, column in COLUMNS.items()
    )


NAMES = _each("{name}")

# A task as it is answered: what follows from a column stands behind it.
DERIVED = {"completed": "completed, case when completed then 'completed' else 'pending' end as status"}
TASK = ", ".join(
    DERIVED.get(name, name) for name in ("id", "user_id", *COLUMNS, "version", "created_at", "updated_at")
)

CREATE_TASK = f"""
with created as (
  insert into app.tasks ({NAMES})
  values ({_each("{new}")})
  returning {TASK}
)
select pg_catalog.to_json(created), version, id, false, true
from created
"""

# What was kept before a column was added is answered, and compared, as with its default.
DEFAULTS = ", ".join(f"'{name}', {column.default}" for name, column in COLUMNS.items() if column.default)
CREATE_TASK_ONCE = f"""
select pg_catalog.to_json(made), made.version, made.id, once.replayed,
  ({_each("{new}")}) is not distinct from ({NAMES})
from app.create_task_once(%(key)s, pg_catalog.json_build_object({_each("'{name}', {new}")})) as once
cross join lateral (
  select {TASK}
  from pg_catalog.json_populate_record(
    pg_catalog.json_populate_record(null::app.tasks, pg_catalog.json_build_object({DEFAULTS})), once.task)
) as made
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
CHANGE_TASK = _change(_each(f"{{name}} = case when {SENT} ? '{{name}}' then {{sent}} else {{name}} end"))
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
  where user_id = %(user_id)s {{filters}} {{after}}
  order by {{order}}
  limit %(limit)s
) as task
"""

# A page and the number of all tasks under its filter; where the page is empty, one row without a task.
LIST_AND_COUNT_TASKS = f"""
select listed.task, counted.total
from (select count(*) as total from app.tasks where user_id = %(user_id)s {{filters}}) as counted
left join ({LIST_TASKS}) as listed (task) on true
"""

STATUS = {"all": "", "pending": "and not completed", "completed": "and completed"}

# All of them in one text, or none: each text that a connection has run stays prepared there.
# strpos has no wildcards to escape.
FILTERS = """
    and (%(priority)s::text is null or priority = %(priority)s)
    and (%(category)s::text is null or category = pg_catalog.lower(%(category)s))
    and (%(tags)s::text[] is null or tags @> %(tags)s)
    and (%(due_before)s::timestamp is null or due_date < %(due_before)s)
    and (%(due_after)s::timestamp is null or due_date >= %(due_after)s)
    and (%(search)s::text is null
      or pg_catalog.strpos(pg_catalog.lower(title), pg_catalog.lower(%(search)s)) > 0
      or pg_catalog.strpos(pg_catalog.lower(description), pg_catalog.lower(%(search)s)) > 0)
"""
FILTERED_BY = ("priority", "category", "tags", "due_before", "due_after", "search")


def _rank(word: str) -> str:
    return f"pg_catalog.array_position(array{list(get_args(Word))}, {word})"


# What a list is sorted by, of its rows and of the row to go on after; what is alike goes by id. By created is
# by id alone: ids are given in the order of creation, and the primary key serves them.
SORTED_BY = {
    "updated": ("updated_at", "%(key)s::timestamptz"),
    "title": ('title collate "C"', "%(key)s"),
    "priority": (_rank("priority"), _rank("%(key)s::text")),
    "due_date": ("coalesce(due_date, {last})", "coalesce(%(key)s::timestamp, {last})"),
    "status": ("completed", "%(key)s::text = 'completed'"),
}
# The comparison of the rows that follow, the direction, and what is last in it.
DIRECTIONS = {"asc": (">", "", "'infinity'"), "desc": ("<", " desc", "'-infinity'")}
ORDERINGS = {
    ("created", order): (f"and id {follows} %(id)s", f"id{direction}")
    for order, (follows, direction, _) in DIRECTIONS.items()
} | {
    (sort, order): (
        f"and ({value}, id) {follows} ({key}, %(id)s)".format(last=last),
        f"{value}{direction}, id{direction}".format(last=last),
    )
    for sort, (value, key) in SORTED_BY.items()
    for order, (follows, direction, last) in DIRECTIONS.items()
}

COUNT_TASKS = """
select pg_catalog.to_json(counted)
from (
  select count(*) as total,
    count(*) filter (where not completed) as pending,
    count(*) filter (where completed) as completed
  from app.tasks
  where user_id = %(user_id)s
) as counted
"""


def list_page(page: Page) -> tuple[str, dict[str, Value]]:
    """Return the statement for a page and one row more, and its parameters besides the user."""
    cursor = page.after()
    after, order = ORDERINGS[page.ordering]
    filters: dict[str, Value] = {name: getattr(page, name) or None for name in FILTERED_BY}
    statement = (LIST_AND_COUNT_TASKS if page.count else LIST_TASKS).format(
        filters=STATUS[page.status] + (FILTERS if any(filters.values()) else ""),
        after=after if cursor else "",
        order=order,
    )
    values: dict[str, Value] = {"limit": page.limit + 1}
    return statement, values | filters | ({"key": cursor.key, "id": cursor.id} if cursor else {})
