"""The session settings that the code relies on, and a check of them.

A setting can come from several places: the server's files, all roles, the database, the role, the role in the
database, and the client. The last one in this order wins. The client sends encoding, time zone and date style
in the start-up packet, and PgBouncer tracks these. A migration sets the others for the role, and every
`make migrate` sets them again. Their effect is checked at startup and by /ready.
"""

import os
from collections.abc import Awaitable, Callable

from psycopg import Error

from app.postgres import NotReady
from app.postgres.connection import REFUSED, Connection, ConnectionLost, Row, state_of_refusal

# libpq sends these as start-up parameters, which override options in PGOPTIONS and DATABASE_URL. It reads
# them only from the environment (PostgreSQL, 34.15). The options parameter is no alternative, since PgBouncer
# 1.18 refuses it.
START_UP = {"PGTZ": "UTC", "PGDATESTYLE": "ISO, MDY"}

# Non-ASCII characters, one of them beyond 16 bits: an encoding other than UTF-8 would change them.
PROBE_USER = "j\u00f6rg \U0001f600"

# The time limits that must be at least a second (or 0, which means none): otherwise ordinary requests fail.
LIMITS = "statement_timeout lock_timeout idle_in_transaction_session_timeout transaction_timeout"
OVER_LIMIT = {"57014", "55P03", "25P03", "25P04"}  # the SQLSTATEs of statements that exceed one of them
CLOSED = ("server closed the connection", "SSL connection has been closed")  # libpq's messages
LIFT_ATTEMPTS = 50  # a limit of 1 ms can also end the statement that lifts it
HAS_TRANSACTION_TIMEOUT = 170000  # server_version of the first release with it

# The wrong settings of this session (`here` is true) and of a new one (`here` is false): settings in the
# catalog apply only to sessions that start later. There the settings that the client sends are not checked,
# since the client overrides them.
WRONG = """
with in_session (name, is_right) as (
  values
    ('client_encoding', %(user_id)s::text = 'j' || pg_catalog.chr(246) || 'rg ' || pg_catalog.chr(128512)),
    ('client_encoding', pg_catalog.pg_client_encoding() = 'UTF8'),
    ('server_encoding', pg_catalog.getdatabaseencoding() = 'UTF8'),
    ('TimeZone', pg_catalog.to_json(timestamptz '2026-01-01 00:00+00')::text like '%+00:00"'),
    ('TimeZone', pg_catalog.to_json(timestamptz '2026-07-01 00:00+00')::text like '%+00:00"'),
    ('default_transaction_isolation', pg_catalog.current_setting('transaction_isolation') = 'read committed'),
    ('default_transaction_read_only',
      not pg_catalog.current_setting('default_transaction_read_only')::boolean),
    ('row_security', pg_catalog.current_setting('row_security')::boolean),
    ('search_path', pg_catalog.current_setting('search_path') = 'pg_catalog'),
    ('session_replication_role', pg_catalog.current_setting('session_replication_role') = 'origin'),
    ('standard_conforming_strings', pg_catalog.current_setting('standard_conforming_strings')::boolean)
),
in_catalog (name, value, source) as (
  select distinct on (setting.name)
    setting.name, pg_catalog.substr(c.entry, pg_catalog.length(setting.name) + 2),
    case
      when s.setrole <> 0 and s.setdatabase <> 0 then 'database user'
      when s.setrole <> 0 then 'user'
      when s.setdatabase <> 0 then 'database'
      else 'global'
    end
  from pg_catalog.pg_db_role_setting as s
  cross join pg_catalog.unnest(s.setconfig) as c (entry)
  cross join pg_catalog.split_part(c.entry, '=', 1) as setting (name)
  where s.setrole in (0, (select oid from pg_catalog.pg_roles where rolname = session_user))
    and s.setdatabase in (
      0, (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
  order by setting.name, s.setrole <> 0 desc, s.setdatabase <> 0 desc
),
wrong (name, value, source, here) as (
  select name, setting,
    case
      when source = 'session' and exists (
        select from pg_catalog.pg_event_trigger where evtevent = 'login' and evtenabled <> 'D'
      ) then 'login trigger'
      else source
    end,
    true
  from in_session
  join pg_catalog.pg_settings using (name)
  where not is_right
  union
  select name, value, source, false
  from in_catalog
  where not case name
    when 'default_transaction_isolation' then pg_catalog.lower(value) = 'read committed'
    when 'default_transaction_read_only' then not value::boolean
    when 'row_security' then value::boolean
    when 'search_path' then value in ('pg_catalog', '"pg_catalog"')
    when 'session_replication_role' then pg_catalog.lower(value) = 'origin'
    when 'standard_conforming_strings' then value::boolean
    when 'role' then value = 'none'
    when 'app.user_id' then value = ''
    else name <> all (pg_catalog.string_to_array('LIMITS', ' ')) or value !~ '^ *0*[1-9][0-9]{0,2} *(ms)? *$'
  end
  -- pg_settings does not list the next two, and the transaction of this check has changed app.user_id and
  -- statement_timeout. So the values at the start of the session are checked: set_config() with null restores
  -- and returns that of app.user_id, and reset_val contains that of a time limit, in milliseconds.
  union
  select 'role', current_user, 'start', false
  where current_user <> session_user
  union
  select 'app.user_id', value, 'start', false
  from (select pg_catalog.set_config('app.user_id', null, true)) as start (value)
  where value <> ''
  union
  select name, reset_val || 'ms', 'start', false
  from pg_catalog.pg_settings
  where case
    when name = any (pg_catalog.string_to_array('LIMITS', ' ')) then reset_val::bigint between 1 and 999
  end
)
select name, value, source, here, pg_catalog.quote_ident(pg_catalog.current_database()) from wrong
""".replace("LIMITS", LIMITS)

# By pg_settings.source: where the setting was made, and what to run.
MIGRATE = "run make migrate"
SOURCES = {
    "client": ("by the client", "remove it from PGOPTIONS and from the options in DATABASE_URL"),
    "session": (
        "within the session",
        "have the pooler reconnect: another client did not reset it, or PgBouncer's connect_query sets it",
    ),
    "login trigger": (
        "within the session, probably by a login event trigger",
        "change that trigger, which \\dy in psql lists",
    ),
    "start": (
        "at the start of the session",
        "remove it from PGOPTIONS, from the options in DATABASE_URL and from the server's configuration",
    ),
    "database user": ("for the role in this database", MIGRATE),
    "user": ("for the role", MIGRATE),
    "database": ("for the database", "{first}alter database {database} reset {name}"),
    "global": ("for all roles", "{first}alter role all reset {name}"),
    "configuration file": (
        "in a configuration file",
        "alter system reset {name}, then reload the configuration",
    ),
    "command line": ("on the server's command line", "start the server without it"),
    "environment variable": ("in the server's environment", "start the server without it"),
    "default": ("by default", MIGRATE),
}
# Statements that must run before the reset, which would fail with these settings, even for a superuser.
FIRST = {
    "default_transaction_read_only": "set default_transaction_read_only = off; ",
    "role": "set role none; ",
}
ON_THE_ROLE = {
    "client_encoding",
    "TimeZone",
    "default_transaction_isolation",
    "row_security",
    "search_path",
    "standard_conforming_strings",
}


def set_environment() -> None:
    """Set the environment variables that libpq reads for each connection."""
    os.environ |= START_UP


async def explain(error: Error, connect: Callable[..., Awaitable[Connection]]) -> Exception:
    """Return the error, or NotReady if a time limit that is too short for the check has caused it."""
    if state_of_refusal(error) == REFUSED and not await _connects_without_limit(connect):
        return error
    reason = error
    for _ in range(LIFT_ATTEMPTS):
        if not _may_be_limit(reason):
            break
        try:
            async with await connect() as connection:
                await connection.execute(_lift_limits(connection.info.server_version).encode())
                wrong = await connection.execute_pipeline([WRONG], {"user_id": PROBE_USER})
        except Error as another:
            reason = another
        else:
            short = [row for row in wrong if row[0] in LIMITS.split()]
            return NotReady(describe(short)) if short else error
    return error


async def _connects_without_limit(connect: Callable[..., Awaitable[Connection]]) -> bool:
    """Return whether a session without a transaction_timeout lasts longer than its login.

    The message of a server that ends a login may be in any language. If the cause is another one, such as a
    wrong password, this is the only further attempt.
    """
    try:
        await (await connect(options="-c transaction_timeout=0")).close()
    except Error:
        return False
    return True


def _may_be_limit(error: Error) -> bool:
    """Return whether a time limit may have caused an error.

    A transaction_timeout ends the session, even during the login, and libpq may report no SQLSTATE then.
    """
    lost = isinstance(error, ConnectionLost) or any(part in str(error) for part in CLOSED)
    return lost or state_of_refusal(error) in OVER_LIMIT | {REFUSED}


def _lift_limits(server_version: int) -> str:
    """Return the statements that begin a transaction without time limits.

    `set` takes less time than set_config(), which a new session must look up in the catalog.
    """
    limits = LIMITS.split()
    if server_version < HAS_TRANSACTION_TIMEOUT:
        limits.remove("transaction_timeout")
    return "; ".join(["begin", *(f"set local {name} = 0" for name in limits)])


def describe(wrong: list[Row]) -> str:
    """Return, for each wrong setting, its value, where it was set, and what to run."""
    ranked = sorted(wrong, key=lambda row: (row[3], row[2] != "start"))  # of equal names, the last one counts
    settings = {name: (value, source, database) for name, value, source, _, database in ranked}
    wanted = "A session of tasks_api has a wrong setting"
    return ". ".join([wanted, *(_describe(name, *setting) for name, setting in sorted(settings.items()))])


def _describe(name: str, value: str, source: str, database: str) -> str:
    if name == "server_encoding":
        return (
            f"The encoding of the database is {value}: create one with encoding 'UTF8', and restore into it"
        )
    place, remedy = SOURCES.get(source, (f"by {source}", MIGRATE))
    # The role's own setting overrides those of the database and the server.
    if name in ON_THE_ROLE and source not in ("client", "session", "login trigger"):
        remedy = MIGRATE
    if remedy == MIGRATE:
        remedy += ", then have poolers reconnect"
    remedy = remedy.format(name=name, first=FIRST.get(name, ""), database=database)
    return f"{name} is {value or 'empty'}, set {place}: {remedy}"
