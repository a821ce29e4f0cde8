"""All SQL statements of the endpoints.

They are constants. Only the statement of a list is assembled, from constant parts. Input is passed as
parameters.

Functions are schema-qualified. PostgreSQL chooses the function that matches the argument types best
(PostgreSQL, 10.3), on the whole search_path. A public.to_json(record) would match better than
pg_catalog.to_json(anyelement). Operators are not qualified: pg_catalog has an exact match for each, and
app/postgres/safety.py checks that the search_path of the role is pg_catalog alone.
"""

from collections.abc import Collection
from typing import NamedTuple, get_args

from app.api.pages import Page
from app.api.schemas import PriorityName
from app.postgres.connection import Value

# The members of a task in a request, after validation, as one JSON object.
SENT = "%(sent)s::jsonb"


class Column(NamedTuple):
    """The SQL expression of a column's value in SENT, and the default of the table.

    A test compares the default with the catalog.
    """

    sent: str
    default: str | None = None

    @property
    def new(self) -> str:
        """The SQL expression for a new task."""
        return f"coalesce({self.sent}, {self.default})" if self.default else self.sent


# The columns that clients may set, in the order of the JSON. A new column needs a line here, a type in
# schemas.py and a migration. All functions are immutable, since Citus refuses others in the SET of an update.
COLUMNS = {
    "title": Column(f"app.trimmed({SENT} ->> 'title')"),
    "description": Column(f"{SENT} ->> 'description'"),
    "completed": Column(f"({SENT} ->> 'completed')::boolean", "false"),
    "priority": Column(f"{SENT} ->> 'priority'", "'medium'"),
    "due_date": Column(f"app.local_time({SENT} ->> 'due_date')"),
    "category": Column(f"nullif(app.trimmed(pg_catalog.lower({SENT} ->> 'category')), '')"),
    "tags": Column(f"app.tags({SENT} -> 'tags')", "'{}'::text[]"),
}


def _each(template: str) -> str:
    """Return the template, filled in for each column, as a comma-separated list."""
    return ", ".join(
        template.format(name=name, sent=column.sent, new=column.new) for name, column in COLUMNS.items()
    )


NAMES = _each("{name}")

# The columns of a task in a response. A derived column follows the column that it is computed from.
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

# If a key's task was stored before a column was added, its JSON lacks the column. It gets the column's
# default.
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


class Change(NamedTuple):
    """The statements of a change to a task: one for any version, one for the versions in If-Match.

    If the result of either has no row, there is no such task. A row of nulls means that the task does not
    have a version in If-Match. A change of any version takes PostgreSQL a tenth less CPU.
    """

    any_version: str
    if_match: str


def _change(command: str, returning: str, result: str) -> Change:
    def changed(condition: str) -> str:
        return f"""
with changed as (
  {command}
  where user_id = %(user_id)s and id = %(id)s {condition}
  returning {returning}
)
select {result} from changed
"""

    # The lock (for key share) makes PostgreSQL read the newest version of the row: the snapshot would still
    # show a task that a concurrent request has deleted.
    unchanged = """
union all
select null, null
from (select 1 from app.tasks where user_id = %(user_id)s and id = %(id)s for key share) as other
where not exists (select 1 from changed)
"""
    has_version = """
    and '"' || version::text || '"' = any(pg_catalog.string_to_array(%(etags)s, pg_catalog.chr(10)))
"""
    return Change(changed(""), changed(has_version) + unchanged)


def _update(changes: str) -> Change:
    return _change(f"update app.tasks set {changes}", TASK, "pg_catalog.to_json(changed), version")


TOGGLE_TASK = _update("completed = not completed")
CHANGE_COLUMN = {name: _update(f"{name} = {column.sent}") for name, column in COLUMNS.items()}
# A member that is absent (`?`) keeps its value. A member that is null becomes null.
CHANGE_TASK = _update(_each(f"{{name}} = case when {SENT} ? '{{name}}' then {{sent}} else {{name}} end"))
DELETE_TASK = _change("delete from app.tasks", "id, version", "id, version")


def change(columns: Collection[str]) -> Change:
    """Return the change of some columns.

    For one column, PostgreSQL takes a tenth less CPU than for CHANGE_TASK. For several there is only
    CHANGE_TASK, since each combination would be another prepared statement.
    """
    return CHANGE_COLUMN[next(iter(columns))] if len(columns) == 1 else CHANGE_TASK


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

# A page and the number of all tasks that match the filter. An empty page is one row without a task.
LIST_AND_COUNT_TASKS = f"""
select listed.task, counted.total
from (select count(*) as total from app.tasks where user_id = %(user_id)s {{filters}}) as counted
left join ({LIST_TASKS}) as listed (task) on true
"""

STATUS = {"all": "", "pending": "and not completed", "completed": "and completed"}

# A list has all filters or none of them: this keeps the number of different statements small, since each is
# prepared on each connection. strpos() is used for the search because it has no wildcards that need escaping.
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
    return f"pg_catalog.array_position(array{list(get_args(PriorityName))}, {word})"


# The sort expressions of a row and of the cursor. Rows with equal keys are sorted by id. The sort `created`
# uses the id alone: ids increase in the order of creation, and the primary key is an index on them.
SORTED_BY = {
    "updated": ("updated_at", "%(key)s::timestamptz"),
    "title": ('title collate "C"', "%(key)s"),
    "priority": (_rank("priority"), _rank("%(key)s::text")),
    "due_date": ("coalesce(due_date, {last})", "coalesce(%(key)s::timestamp, {last})"),
    "status": ("completed", "%(key)s::text = 'completed'"),
}
# For each direction: the comparison with the cursor, the keyword, and the value that comes last.
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
    """Return the statement for a page and its parameters other than the user.

    It selects one row more than the page has, which shows whether there is a next page.
    """
    cursor = page.decoded_cursor()
    after, order = ORDERINGS[page.ordering]
    filters: dict[str, Value] = {name: getattr(page, name) or None for name in FILTERED_BY}
    statement = (LIST_AND_COUNT_TASKS if page.count else LIST_TASKS).format(
        filters=STATUS[page.status] + (FILTERS if any(filters.values()) else ""),
        after=after if cursor else "",
        order=order,
    )
    values: dict[str, Value] = {"limit": page.limit + 1}
    return statement, values | filters | ({"key": cursor.key, "id": cursor.id} if cursor else {})
