"""The session settings that the code relies on, and a check of them.

The environment can change most of them: the server's files, all roles, the database, the role, the role in
the database, and the client; the last one in this order wins. The client sends encoding, time zone and date
style in the start-up packet, and PgBouncer tracks these. A migration sets the others for the role, and every
`make migrate` sets them again. The start and /ready check their effect.
"""

import os
from operator import itemgetter

from app.postgres.connection import Row

# libpq sends these as start-up parameters, which override options in PGOPTIONS and DATABASE_URL. It reads
# them only from the environment (PostgreSQL, 34.15). The options parameter is no alternative, since PgBouncer
# 1.18 refuses it.
START_UP = {"PGTZ": "UTC", "PGDATESTYLE": "ISO, MDY"}

# Non-ASCII characters, one of them beyond 16 bits: another encoding than UTF-8 would change them.
PROBE_USER = "j\u00f6rg \U0001f600"

# The settings that are wrong in this session (here is true), and those in the catalog that would be wrong in
# a new session: the pool's sessions may be older than them. Settings that the client sends are not looked up
# in the catalog.
WRONG = """
select s.name, s.setting as value, s.source, true as here
from (
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
) as relied_on (name, is_so)
join pg_catalog.pg_settings as s on s.name = relied_on.name
where not relied_on.is_so
union
select name, value, source, false
from (
  select distinct on (n.name) n.name, pg_catalog.substr(c.entry, pg_catalog.length(n.name) + 2) as value,
    case
      when s.setrole <> 0 and s.setdatabase <> 0 then 'database user'
      when s.setrole <> 0 then 'user'
      when s.setdatabase <> 0 then 'database'
      else 'global'
    end as source
  from pg_catalog.pg_db_role_setting as s
  cross join pg_catalog.unnest(s.setconfig) as c (entry)
  cross join pg_catalog.split_part(c.entry, '=', 1) as n (name)
  where s.setrole in (0, (select oid from pg_catalog.pg_roles where rolname = session_user))
    and s.setdatabase in (
      0, (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
  order by n.name, s.setrole <> 0 desc, s.setdatabase <> 0 desc
) as new
where not case name
  when 'default_transaction_isolation' then pg_catalog.lower(value) = 'read committed'
  when 'default_transaction_read_only' then not value::boolean
  when 'row_security' then value::boolean
  when 'search_path' then value in ('pg_catalog', '"pg_catalog"')
  when 'session_replication_role' then pg_catalog.lower(value) = 'origin'
  when 'standard_conforming_strings' then value::boolean
  when 'role' then value = 'none'
  when 'app.user_id' then value = ''
  else true
end
"""

# By pg_settings.source: where the setting was made, and what to run.
MIGRATE = "run make migrate"
SOURCES = {
    "client": ("by the client", "take it out of PGOPTIONS and of the options in DATABASE_URL"),
    "session": ("within the session", "have the pooler reconnect: another client left it behind"),
    "database user": ("for the role in this database", MIGRATE),
    "user": ("for the role", MIGRATE),
    "database": ("for the database", "alter database NAME reset {}"),
    "global": ("for all roles", "alter role all reset {}"),
    "configuration file": ("in a configuration file", "alter system reset {}, then reload the configuration"),
    "command line": ("on the server's command line", "start the server without it"),
    "environment variable": ("in the server's environment", "start the server without it"),
    "default": ("by default", MIGRATE),
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


def describe(wrong: list[Row]) -> str:
    """Return, for each wrong setting, its value, where it was set, and what to run."""
    settings = {name: (value, source) for name, value, source, _ in sorted(wrong, key=itemgetter(3))}
    return ". ".join(_describe(name, *setting) for name, setting in sorted(settings.items()))


def _describe(name: str, value: str, source: str) -> str:
    if name == "server_encoding":
        return (
            f"The encoding of the database is {value}: create one with encoding 'UTF8', and restore into it"
        )
    place, remedy = SOURCES.get(source, (f"by {source}", MIGRATE))
    if name in ON_THE_ROLE and source not in ("client", "session"):  # the role's setting overrides those
        remedy = MIGRATE
    if remedy == MIGRATE:
        remedy += ", then have poolers reconnect"
    return f"{name} is {value or 'empty'}, set {place}: {remedy.format(name)}"
