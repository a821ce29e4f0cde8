"""`make audit`, `prove` and `policies`: run an SQL file of sql/ and print its rows for a terminal.

A report that is not sound ends the command with status 1, so that a deploy can stop there.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import psycopg

from app.commands import findings, migrations
from app.postgres.citus import CITUS
from app.postgres.safety import SQL

ON_WORKERS = """
select nodename || ':' || nodeport, success, result
from run_command_on_workers('select json_agg(answer) from (' || %s || ') as answer')
"""
FORMATS = {"text": findings.as_text, "json": findings.as_json, "markdown": findings.as_markdown}
SHARD = re.compile(r"^(app\.(?:users|tasks|idempotency_keys))_\d+$")


class Table(NamedTuple):
    """One result set, as text."""

    names: list[str]
    rows: list[list[str]]


class Report(NamedTuple):
    """The text to print, and whether the database isolates its users."""

    text: str
    sound: bool


def audit(conninfo: str, form: str = "text", fail_on: str = "hole", baseline: Path | None = None) -> Report:
    """Report the findings of audit.sql.

    The report is not sound if a finding that is not in the baseline is as severe as `fail_on`.
    """
    servers = run_everywhere(conninfo, "audit.sql")
    found = findings.identify((server, row) for server, table in servers.items() for row in table.rows)
    if baseline:
        found = findings.compare(found, baseline)
    summary = findings.summarize(found) + (f" on {len(servers)} servers" if len(servers) > 1 else "")
    if form == "sarif":
        text = findings.as_sarif(found, summary, compared=baseline is not None)
    else:
        text = FORMATS[form](found, summary)
    return Report(text, sound=not findings.fails(found, fail_on))


def prove(conninfo: str) -> Report:
    """Report the attempts of prove.sql. The report is not sound if one is BROKEN, or if none was made."""
    attempts, summary = run(conninfo, "prove.sql")
    text = "\n".join([*lay_out(attempts), summary.rows[0][0]])
    return Report(text, sound=holds(attempts))


def holds(attempts: Table) -> bool:
    """Return whether something was tried, and nothing is BROKEN."""
    results = {result for *_, result in attempts.rows}
    return "ok" in results and "BROKEN" not in results


def policies(conninfo: str) -> Report:
    """Report the access matrix of policies.sql."""
    servers = run_everywhere(conninfo, "policies.sql")
    return Report("\n".join(line for server in servers.items() for line in _titled(*server)), sound=True)


def run(conninfo: str, name: str, statements: bytes = b"") -> list[Table]:
    """Run these statements, or those of the SQL file with this name; return their result sets."""
    with _connected(conninfo, name) as connection:
        cursor = connection.execute(statements or (SQL / name).read_bytes())
        return [
            _text([column.name for column in result.description], result)
            for result in cursor.results()
            if result.description
        ]


def run_everywhere(conninfo: str, name: str) -> dict[str, Table]:
    """Run an SQL file of one statement here and on each worker of Citus.

    Return the result set of each server by HOST:PORT. The name of the connected server is empty.
    """
    [here] = run(conninfo, name)
    servers = {"": here}
    statement = (SQL / name).read_text().strip().rstrip(";")
    with _connected(conninfo, name) as connection:
        if not connection.execute(CITUS).rowcount:
            return servers
        for server, success, result in connection.execute(ON_WORKERS, (statement,)).fetchall():
            if not success:
                raise SystemExit(f"{name}: {server}: {result}")
            servers[server] = _text(here.names, (row.values() for row in json.loads(result or "[]")))
    return servers


@contextmanager
def _connected(conninfo: str, name: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    try:
        with psycopg.connect(
            conninfo, autocommit=True, client_encoding="utf8", application_name=f"tasks {name}"
        ) as connection:
            # All settings end with this transaction. Otherwise a pooler would give the API a session with
            # these settings. The BEGIN in prove.sql may not change this transaction's isolation level.
            begin = "begin isolation level read committed read write" if name == "prove.sql" else "begin"
            # The statement_timeout of tasks_api is too short for the audit of a large schema.
            connection.execute(
                f"{begin}; set search_path = pg_catalog, pg_temp; {migrations.UNLIMIT}".encode()
            )
            # The database may have other values of these. audit.sql compares the text of policies, and its
            # regular expressions have backslashes.
            connection.execute("set quote_all_identifiers = off; set standard_conforming_strings = on")
            connection.execute("set jit = off")
            # With another value, audit.sql would raise an error instead of returning rows.
            connection.execute("set audit.fail_on = ''")
            yield connection
            connection.execute("rollback")
    except psycopg.Error as error:
        raise SystemExit(f"{name}: {error.diag.message_primary or error}") from None


def _text(names: list[str], rows: Iterable[Iterable[object]]) -> Table:
    return Table(names, [["" if value is None else str(value) for value in row] for row in rows])


def _titled(server: str, table: Table) -> Iterator[str]:
    if server:
        yield from ("", server)
    # Rows that differ only in the number of a shard are printed once.
    rows = dict.fromkeys(tuple(SHARD.sub(r"\1_*", cell) for cell in row) for row in table.rows)
    yield from lay_out(Table(table.names, [list(row) for row in rows]))


def lay_out(table: Table) -> Iterator[str]:
    """Yield the lines of a table with aligned columns.

    If the terminal is too narrow, the widest columns wrap between words. If the longest words do not fit
    side by side, each cell has a line of its own.
    """
    columns = list(zip(table.names, *table.rows, strict=True))
    least = [max(len(word) for cell in column for word in cell.split()) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    room = shutil.get_terminal_size((160, 24)).columns - 2 * len(widths) + 2
    if sum(least) > room:
        yield from _cell_by_cell(table, room + 2 * len(widths) - 2)
        return
    while sum(widths) > room:
        widest = max((w, n) for n, w in enumerate(widths) if w > least[n])[1]
        widths[widest] -= 1
    for row in [table.names, ["-" * width for width in widths], *table.rows]:
        for parts in zip_longest(*map(wrap, row, widths), fillvalue=""):
            yield "  ".join(map(str.ljust, parts, widths)).rstrip()


def _cell_by_cell(table: Table, room: int) -> Iterator[str]:
    width = max(map(len, table.names))
    for row in table.rows:
        for name, cell in zip(table.names, row, strict=True):
            lines = wrap(cell, max(room - width - 2, 20), break_long_words=False, break_on_hyphens=False)
            yield from (f"{'' if n else name:{width}}  {line}" for n, line in enumerate(lines))
        yield ""
