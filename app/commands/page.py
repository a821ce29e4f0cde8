"""`make report`: one HTML page for an auditor, with policies, findings, accepted findings and attempts."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from app.commands.reports import Report, Table, run

PAGE = Path("report.html")

FACTS = b"""
select current_database() as "database", split_part(version(), ' on ', 1) as server,
  app.schema_version() as "migration", session_user as "asked as", date_trunc('second', now()) as "at"
"""
ACCEPTED = b"""
select check_name as "check", object, reason, accepted_by as "by", accepted_on as "on", expires_on as "until"
from audit.accepted order by check_name, object
"""
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 0 0 2em }
th, td { border: 1px solid #bbb; padding: .3em .5em; text-align: left; vertical-align: top }
th { background: #eee }
td { overflow-wrap: anywhere; white-space: pre-line }
tr.hole, tr.BROKEN { background: #fdd } tr.warning { background: #ffd }
@media print { body { font-size: 9px; margin: 0; max-width: none } tr { break-inside: avoid } }
"""


def report(conninfo: str) -> Report:
    """Write the page to report.html in the working directory.

    The report is not sound if the audit finds a hole or an attempt is BROKEN.
    """
    attempts, summary = run(conninfo, "prove.sql")
    [findings] = run(conninfo, "audit.sql")
    [matrix] = run(conninfo, "policies.sql")
    kinds = {row[0] for row in findings.rows}
    sections = {
        "The database": run(conninfo, "report", FACTS)[0],
        "Who may do what, by which policy and why": matrix,
        "What the audit finds": findings,
        "What was accepted": run(conninfo, "report", ACCEPTED)[0],
        f"What was tried: {summary.rows[0][0]}": attempts,
    }
    PAGE.write_text("".join(_page(sections)), encoding="utf-8")
    sound = "hole" not in kinds and all(result == "ok" for *_, result in attempts.rows)
    return Report(f"{PAGE.resolve()}: {'sound' if sound else 'NOT sound'}", sound)


def _page(sections: dict[str, Table]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit of row security</title>'
    yield f"<style>{STYLE}</style><h1>Audit of row security</h1>"
    for title, table in sections.items():
        yield f"<h2>{escape(title)}</h2>"
        yield from _table(table) if table.rows else ["<p>Nothing.</p>"]


def _table(table: Table) -> Iterator[str]:
    yield f"<table><tr>{''.join(f'<th>{escape(name)}' for name in table.names)}"
    for row in table.rows:
        kind = next((cell for cell in (row[0], row[-1]) if cell in {"hole", "warning", "BROKEN"}), "")
        yield f'<tr class="{kind}">{"".join(f"<td>{escape(cell)}" for cell in row)}'
    yield "</table>"
