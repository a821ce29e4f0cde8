"""`make report`: one HTML page for an auditor.

It shows the verdict, the access of each role, policies, findings, accepted findings and attempts.
"""

import getpass
import re
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

import psycopg

from app import __version__
from app.commands import findings
from app.commands.reports import Report, Table, holds, run
from app.postgres.safety import SQL

PAGE = Path("report.html")

FACTS = b"""
select current_database() as "database", split_part(version(), ' on ', 1) as "server",
  session_user as "role",
  to_char(now(), 'YYYY-MM-DD HH24:MI:SSTZH:TZM') as "at"  -- psycopg reads only timestamps of DateStyle ISO
"""
# Neither query runs code of another role: with CREATE on the database, a role could create these objects
# before the migrations. The version is read from the function's body, and accepted findings only from a table
# whose policies are all `true`.
MIGRATION = b"""
select substring(pg_get_function_sqlbody(to_regprocedure('app.schema_version()')) from '^RETURN ([0-9]+)$')
"""
HAS_ACCEPTED = b"""
select 1 from pg_class as c
where c.oid = to_regclass('audit.accepted') and c.relkind = 'r' and not exists (
  select from pg_policy as p where p.polrelid = c.oid and pg_get_expr(p.polqual, p.polrelid) <> 'true'
)
"""
ACCEPTED = b"""
select check_name as "check", object, reason, accepted_by as "by", accepted_on as "on", expires_on as "until"
from audit.accepted order by check_name, object
"""
LONG = re.compile(r"\S{31,}")
BREAK = re.compile(r"(?<=[._/(,:])(?=\w)")
COMMIT = ("git", "describe", "--always", "--dirty", "--abbrev=12")
SHOWN = 10  # holes in the verdict
POLICY = 4  # the column of policies.sql
MARKS = {"held": "&#10003;", "every": "every row:", "view": "view:", "idle": "&ndash;"}
LEGEND = (
    "&#10003; only the rows that a policy allows. &ndash; no row: a grant without a policy, or a policy "
    "without a grant. view: the rows that the view selects, since a view has no policies."
)
# Lines break between words, and in names of more than 30 characters after a dot, comma or underscore.
# On a phone each table is a list.
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem; color: #222 }
h2 { margin-top: 2.5rem; break-after: avoid }
summary { cursor: pointer; font-weight: 600; padding: .4rem 0 }
.verdict { border-left: .6rem solid; padding: .6rem 1rem }
.verdict p { font-size: 1.4rem; margin: 0 }
.ok { background: #e4f4e4; border-color: #1b7a1b }
.broken { background: #fde3e3; border-color: #b00 }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem }
dt { color: #555 }
dd { margin: 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top }
td { white-space: pre-line }
thead th { background: #eee }
tr.name th { background: #f7f7f7; border-top: 2px solid #999 }
tr.hole, tr.BROKEN { background: #fde3e3 }
tr.warning, tr.not { background: #fff6d6 }
.marks span { display: block }
.held { color: #176117 }
.every { color: #a33c00; font-weight: 600 }
.view, .idle { color: #666 }
@media screen and (max-width: 48rem) {
  ul { padding-left: 1rem }
  .list thead, .list td:empty { display: none }
  .list table, .list tbody, .list tr, .list td, .list tbody th { display: block; overflow-x: auto }
  .list tr { border: 1px solid #ccc; margin-bottom: .8rem }
  .list td, .list tbody th { border: 0 }
  .list td::before { content: attr(data-name); display: block; color: #555; font-size: .8em }
}
@media print {
  @page { size: a4 landscape; margin: 1cm }
  body { font-size: 8px; max-width: none; padding: 0 }
  tr { break-inside: avoid }
  .wide { overflow: visible }
  * { print-color-adjust: exact }
}
"""


def report(conninfo: str) -> Report:
    """Write the page to report.html in the working directory.

    The report is not sound if the audit finds a hole or an attempt is BROKEN.
    """
    attempts, summary = run(conninfo, "prove.sql")
    [found] = run(conninfo, "audit.sql")
    [policies] = run(conninfo, "policies.sql")
    rows = findings.identify(("", row) for row in found.rows)
    holes = [f"{f.check_name}: {f.object}: {f.finding}" for f in rows if f.severity == "hole"]
    broken = [tried for tried, *_, result in attempts.rows if result == "BROKEN"]
    sound = not holes and holds(attempts)
    counted = f"{findings.summarize(rows)}; {summary.rows[0][0]}"
    has_accepted = run(conninfo, "report", HAS_ACCEPTED)[0].rows
    body = [
        *_verdict(
            [
                *holes[:SHOWN],
                *([f"{len(holes) - SHOWN} more: see Findings"] if len(holes) > SHOWN else []),
                *(f"BROKEN: {tried}" for tried in broken[:3]),
            ],
            counted,
            sound=sound,
        ),
        *_facts(conninfo),
        f"<h2>Access</h2><p>{LEGEND}</p>",
        *_matrix(policies),
        "<h2>Policies</h2>",
        *_list(Table(policies.names, [row for row in policies.rows if row[POLICY]]), grouped=True),
        "<h2>Findings</h2>",
        *_list(Table([*found.names, "page"], [[*f[:5], f.page] for f in rows if f.severity != "accepted"])),
        "<h2>Accepted findings</h2>",
        *_list(run(conninfo, "report", ACCEPTED)[0] if has_accepted else Table([], [])),
        "<h2>Attempts</h2>",
        *_groups(attempts),
    ]
    try:
        PAGE.write_text("".join(_page(body)), encoding="utf-8")
    except OSError as error:  # for example in a read-only container
        sys.exit(
            f"{PAGE.resolve()} cannot be written: {error.strerror}; "
            "run this in a folder that you may write to, with the folder of the code in PYTHONPATH"
        )
    return Report(f"{PAGE.resolve()}: {'sound' if sound else 'NOT sound'}", sound)


def _page(body: list[str]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit of row security</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style><h1>Audit of row security</h1>"
    yield from body


def _verdict(holes: list[str], counted: str, *, sound: bool) -> Iterator[str]:
    yield f'<section class="verdict {"ok" if sound else "broken"}"><p><strong>'
    yield f"{'Sound' if sound else 'Not sound'}</strong></p>{escape(counted)}"
    yield f"<ul>{''.join(f'<li>{_text(hole)}' for hole in holes)}</ul></section>"


def _facts(conninfo: str) -> Iterator[str]:
    [facts] = run(conninfo, "report", FACTS)
    with psycopg.connect(conninfo) as connection:
        host = connection.info.host  # with several hosts, or a service file, the URL does not tell it
    shown = {
        "host": host,
        **dict(zip(facts.names, facts.rows[0], strict=True)),
        "run by": _user(),
        "migration": run(conninfo, "report", MIGRATION)[0].rows[0][0] or "none of this project",
        "release": __version__,
        "commit": _commit(),
    }
    yield f"<dl>{''.join(f'<dt>{name}<dd>{_text(value)}' for name, value in shown.items())}</dl>"


def _text(value: str) -> str:
    """Escape text, and mark where a long name may break."""
    return LONG.sub(lambda name: BREAK.sub("<wbr>", name[0]), escape(value))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"


def _commit() -> str:
    try:
        done = subprocess.run(COMMIT, cwd=SQL, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _matrix(policies: Table) -> Iterator[str]:
    """Lay out a row for each table and a column for each role. Each cell marks the commands."""
    marks: dict[tuple[str, str], dict[str, list[str]]] = {}
    for table, command, role, *_, remark in policies.rows:
        marks.setdefault((table, role), {}).setdefault(_kind(remark), []).append(command)
    roles = sorted({role for _, role in marks})
    yield f'<div class="wide list"><table><thead><tr><th>table{"".join(f"<th>{_text(r)}" for r in roles)}'
    yield "</thead><tbody>"
    for table in dict.fromkeys(table for table, _ in marks):
        yield f"<tr><th>{_text(table)}"
        for role in roles:
            cell = marks.get((table, role), {}).items()
            lines = (
                f'<span class="{kind}">{MARKS[kind]} {", ".join(dict.fromkeys(commands))}</span>'
                for kind, commands in cell
            )
            yield f'<td class="marks" data-name="{escape(role)}">{"".join(lines)}'
    yield "</tbody></table></div>"


def _kind(remark: str) -> str:
    if "every row" in remark or "not apply" in remark:
        return "every"
    return "view" if "not a table" in remark else "idle" if remark else "held"


def _groups(attempts: Table) -> Iterator[str]:
    groups: dict[str, list[list[str]]] = {"BROKEN": [], "not tried": []}
    for row in attempts.rows:
        must, result = row[1], row[-1]
        groups.setdefault(f"must {must}" if result == "ok" else result, []).append(row)
    for name, rows in groups.items():
        if rows:
            yield f"<details open><summary>{escape(name)} ({len(rows)})</summary>"
            yield from _list(Table(attempts.names, rows))
            yield "</details>"


def _list(table: Table, *, grouped: bool = False) -> Iterator[str]:
    """Lay out a table. If `grouped`, rows with the same first cell are listed below that cell."""
    if not table.rows:
        yield "<p>None."
        return
    names = table.names[grouped:]
    yield f'<div class="wide list"><table><thead><tr>{"".join(f"<th>{escape(name)}" for name in names)}'
    yield "</thead><tbody>"
    shown = ""
    for row in table.rows:
        if grouped and row[0] != shown:
            shown = row[0]
            yield f'<tr class="name"><th colspan="{len(names)}">{_text(shown)}'
        kind = next(
            (cell for cell in (row[0], row[-1]) if cell in {"hole", "warning", "BROKEN", "not tried"}), ""
        )
        cells = zip(names, row[grouped:], strict=True)
        yield f'<tr class="{kind}">'
        yield from (f'<td data-name="{escape(name)}">{_text(cell)}' for name, cell in cells)
    yield "</tbody></table></div>"
