"""The findings of audit.sql for a terminal and for pipelines: text, JSON, SARIF 2.1.0 or Markdown.

A fingerprint identifies a finding across runs. It is a hash of the check, the object and the SQL of the
remedy. Texts, order and severity do not change it. A baseline is the JSON of an earlier run: its findings are
not new, unless one has become more severe.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from app import __version__
from app.postgres.safety import SQL, describe

PAGE = "sql/checks.md"
RANKS = {"hole": 0, "warning": 1, "hint": 2, "note": 3, "accepted": 4}
LEVELS = {"hole": "error", "warning": "warning", "hint": "note", "note": "none", "accepted": "note"}
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "finding/v1"
COMMENT = re.compile(r"--[^\n]*")
HEADING = re.compile(r"^## ([a-z_]+)$", re.MULTILINE)
MARKUP = re.compile(r"([\\`*_{}\[\]#|~!])")


class Finding(NamedTuple):
    """A row of audit.sql. The JSON has the same members."""

    severity: str
    check_name: str
    object: str
    finding: str
    remedy: str
    server: str  # HOST:PORT of a worker of Citus, else empty
    fingerprint: str
    new: bool

    @property
    def page(self) -> str:
        """Return the link to the explanation of the check."""
        return f"{PAGE}#{self.check_name}"


def identify(rows: Iterable[tuple[str, Sequence[str]]]) -> list[Finding]:
    """Return a finding with its fingerprint for each pair of a server and a row.

    If several findings have the same cause, a counter makes their fingerprints different.
    """
    findings, seen = [], Counter[str]()
    for server, (severity, check_name, thing, finding, remedy) in rows:
        cause = json.dumps([check_name, thing, " ".join(COMMENT.sub("", remedy).split())])
        seen[cause] += 1
        fingerprint = hashlib.sha256(f"{cause}{seen[cause]}".encode()).hexdigest()[:32]
        findings.append(Finding(severity, check_name, thing, finding, remedy, server, fingerprint, new=True))
    return findings


def compare(findings: list[Finding], baseline: Path) -> list[Finding]:
    """Mark the findings of the baseline as not new."""
    try:
        kept = json.loads(baseline.read_text(encoding="utf-8"))["findings"]
        known = {finding["fingerprint"]: RANKS[finding["severity"]] for finding in kept}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SystemExit(
            f"--baseline {baseline}: {error!r}; make one with: python -m app audit --format json"
        ) from None
    return [f._replace(new=RANKS[f.severity] < known.get(f.fingerprint, len(RANKS))) for f in findings]


def fails(findings: Iterable[Finding], fail_on: str) -> bool:
    """Return whether a new finding has this severity or a worse one."""
    return any(f.new and RANKS[f.severity] <= RANKS[fail_on] for f in findings)


def summarize(findings: Sequence[Finding]) -> str:
    """Count the findings by severity, and those of the baseline."""
    counts = Counter(f.severity for f in findings)
    parts = [f"{counts['hole']} holes", f"{counts['warning']} warnings"]
    parts += [f"{counts[severity]} {plural}" for severity, plural in PLURALS.items() if counts[severity]]
    if known := sum(not f.new for f in findings):
        parts.append(f"{known} in the baseline")
    return ", ".join(parts)


PLURALS = {"hint": "hints", "note": "notes", "accepted": "accepted"}


def as_text(findings: Sequence[Finding], summary: str) -> str:
    """Return the findings as text for a terminal."""
    return "\n\n".join([*map(_block, findings), summary])


def _block(finding: Finding) -> str:
    server = f"{finding.server}: " if finding.server else ""
    known = "" if finding.new else " (in the baseline)"
    return f"{server}{describe(*finding[:5])}\n  See {finding.page}{known}"


def as_json(findings: Sequence[Finding], summary: str) -> str:
    """Return the findings as JSON, for --baseline and other programs. sql/README.md documents the members."""
    document = {
        "version": 1,
        "audit": __version__,
        "summary": summary,
        "findings": [{**finding._asdict(), "help": finding.page} for finding in findings],
    }
    return json.dumps(document, indent=2)


def as_markdown(findings: Sequence[Finding], summary: str) -> str:
    """Return the findings as Markdown, for a comment on a pull request or the summary of a CI job."""
    parts = [f"**{summary}**"]
    for f in findings:
        server = f"{f.server}: " if f.server else ""
        known = "" if f.new else " (in the baseline)"
        fence = "`" * max(3, *(len(run) + 1 for run in [*re.findall("`+", f.remedy), ""]))
        parts.append(
            f"### {f.severity}: {_plain(server + f.object)}{known}\n\n"
            f"{_plain(f.finding)} See [{f.check_name}]({f.page}).\n\n{fence}sql\n{f.remedy}\n{fence}"
        )
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Escape the markup of Markdown and HTML, since names in a database may contain any character."""
    return MARKUP.sub(r"\\\1", escape(" ".join(text.split()), quote=False))


def as_sarif(findings: Sequence[Finding], summary: str, *, compared: bool) -> str:
    """Return a SARIF 2.1.0 log (OASIS), with a rule for each check that has findings."""
    pages = read_pages()
    checks = sorted({f.check_name for f in findings})
    driver = {
        "name": "tasks-api audit",
        "semanticVersion": __version__,
        "rules": [_rule(check, *pages.get(check, ("", 1))) for check in checks],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(f, checks.index(f.check_name), pages.get(f.check_name, ("", 1))[1], compared=compared)
            for f in findings
        ],
        "properties": {"summary": summary},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def read_pages() -> dict[str, tuple[str, int]]:
    """Return the text under each heading of sql/checks.md, and the line of the heading."""
    text = (SQL / "checks.md").read_text(encoding="utf-8")
    _, *parts = HEADING.split(text)
    return {
        name: (body.strip(), text.count("\n", 0, match.start()) + 1)
        for name, body, match in zip(parts[::2], parts[1::2], HEADING.finditer(text), strict=True)
    }


def _rule(check: str, text: str, _line: int) -> dict[str, Any]:
    return {
        "id": check,
        "shortDescription": {"text": text.partition("\n\n")[0].replace("\n", " ") or check},
        "help": {"text": text or check, "markdown": text or check},
        "helpUri": f"{(SQL / 'checks.md').as_uri()}#{check}",
    }


def _result(finding: Finding, rule: int, line: int, *, compared: bool) -> dict[str, Any]:
    name = f"{finding.server}/{finding.object}" if finding.server else finding.object
    result = {
        "ruleId": finding.check_name,
        "ruleIndex": rule,
        "kind": "informational" if finding.severity == "note" else "fail",
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.object}: {finding.finding}\n\n{finding.remedy}\n\nSee {finding.page}"},
        # GitHub needs the location of a file. A database object has none, so the heading of the check is
        # used.
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": PAGE}, "region": {"startLine": line}},
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "object"}],
            }
        ],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "properties": {"severity": finding.severity},
    }
    if finding.severity == "accepted":
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    if compared:
        result["baselineState"] = "new" if finding.new else "unchanged"
    return result
