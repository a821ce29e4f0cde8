"""What the SQL files for DBAs say, laid out for a terminal, and whether a deploy may go on."""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from textwrap import wrap
from typing import NamedTuple

import psycopg

from app.postgres.safety import SQL, describe


class Table(NamedTuple):
    """One result set, as text."""

    names: list[str]
    rows: list[list[str]]


class Report(NamedTuple):
    """What to print, and whether it tells of users who are kept apart."""

    text: str
    sound: bool


def audit(conninfo: str) -> Report:
    """Report what audit.sql finds: not sound where one is a hole."""
    [(_, findings)] = run(conninfo, "audit.sql")
    severities = Counter(severity for severity, *_ in findings)
    holes = severities["hole"]
    accepted = f", {severities['accepted']} accepted" if severities["accepted"] else ""
    summary = f"{holes} holes, {severities['warning']} warnings{accepted}"
    return Report("\n\n".join([*(describe(*finding) for finding in findings), summary]), sound=not holes)


def prove(conninfo: str) -> Report:
    """Report what prove.sql tried: not sound where anything is BROKEN."""
    attempts, summary = run(conninfo, "prove.sql")
    text = "\n".join([*lay_out(attempts), summary.rows[0][0]])
    return Report(text, sound=all(result == "ok" for *_, result in attempts.rows))


def policies(conninfo: str) -> Report:
    """Report the access matrix of policies.sql."""
    [matrix] = run(conninfo, "policies.sql")
    return Report("\n".join(lay_out(matrix)), sound=True)


def run(conninfo: str, name: str) -> list[Table]:
    """Run one of the SQL files, all its statements, and read what they answer."""
    return _run(conninfo, name, (SQL / name).read_bytes())


def query(conninfo: str, statement: bytes) -> Table:
    """Read what one statement answers."""
    return _run(conninfo, "report", statement)[0]


def _run(conninfo: str, name: str, statements: bytes) -> list[Table]:
    try:
        with psycopg.connect(conninfo, autocommit=True, application_name=f"tasks {name}") as connection:
            connection.execute("set search_path = pg_catalog, pg_temp")
            connection.execute("set jit = off")
            cursor = connection.execute(statements)
            return [_read(result) for result in cursor.results() if result.description]
    except psycopg.Error as error:
        raise SystemExit(f"{name}: {error.diag.message_primary or error}") from None


def _read(result: psycopg.Cursor[tuple[object, ...]]) -> Table:
    names = [column.name for column in result.description or ()]
    return Table(names, [["" if value is None else str(value) for value in row] for row in result])


def lay_out(table: Table) -> Iterator[str]:
    """Align the columns; where the terminal is too narrow, wrap the widest, but never within a word."""
    columns = list(zip(table.names, *table.rows, strict=True))
    least = [max(len(word) for cell in column for word in cell.split()) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    while sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size((160, 24)).columns and widths != least:
        widest = max((w, n) for n, w in enumerate(widths) if w > least[n])[1]
        widths[widest] -= 1
    for row in [table.names, ["-" * width for width in widths], *table.rows]:
        for parts in zip_longest(*map(wrap, row, widths), fillvalue=""):
            yield "  ".join(map(str.ljust, parts, widths)).rstrip()
