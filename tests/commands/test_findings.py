"""python -m app audit in a pipeline: its formats, exit codes, fingerprints and baseline."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from conftest import Server

from app.__main__ import main
from app.commands import findings, reports
from app.postgres.safety import SQL

Audit = Callable[..., tuple[int, str]]
ONE = "drop policy a on app.t;"
LEVELS = {"hole": "error", "warning": "warning", "hint": "note", "note": "none", "accepted": "note"}


@pytest.fixture
def audit(server: Server, database: str, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Run the command with these rows as the result of audit.sql; return its exit status and output."""

    def run(rows: list[tuple[str, ...]], *options: str, url: str = server.conninfo(database)) -> Any:
        table = reports.Table([], [list(row[:5]) for row in rows])
        environment = {"MIGRATION_DATABASE_URL": "", "DATABASE_URL": url}
        with (
            patch.dict(os.environ, environment),
            patch.object(sys, "argv", ["app", "audit", *options]),
            patch.object(reports, "run_everywhere", lambda *_: {"": table}),
            pytest.raises(SystemExit) as end,
        ):
            main()
        return end.value.code, capsys.readouterr().out

    return run


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent an .env of the developer from being read."""
    monkeypatch.chdir(tmp_path)


def row(
    severity: str = "hole", thing: str = "app.t", finding: str = "Why.", remedy: str = ONE
) -> tuple[str, ...]:
    """Return a row of audit.sql."""
    return (severity, "policy", thing, finding, remedy)


def fingerprints(*rows: tuple[str, ...]) -> list[str]:
    """Return the fingerprint of each row."""
    return [f.fingerprint for f in findings.identify(("", row) for row in rows)]


@pytest.mark.parametrize("form", ["text", "json", "sarif", "markdown"])
@pytest.mark.parametrize(
    ("severity", "options", "status"),
    [
        ("hole", (), 1),
        ("hole", ("--fail-on", "warning"), 1),
        ("warning", (), 0),
        ("warning", ("--fail-on", "warning"), 1),
        ("hint", ("--fail-on=warning",), 0),
        ("note", ("--fail-on=warning",), 0),
        ("accepted", ("--fail-on=warning",), 0),
    ],
)
def test_the_exit_status_is_the_same_in_every_format(
    audit: Audit, form: str, severity: str, options: tuple[str, ...], status: int
) -> None:
    code, said = audit([row(severity)], "--format", form, *options)
    assert code == status
    assert "app.t" in said


@pytest.mark.parametrize(
    "options",
    [("--format", "xml"), ("--fail-on", "hint"), ("--baseline",), ("--baseline", "missing.json"), ("again",)],
)
def test_a_wrong_option_exits_with_2(audit: Audit, options: tuple[str, ...]) -> None:
    assert audit([], *options)[0] == 2


@pytest.mark.parametrize("held", ["", "[]", "{}", '{"findings": [{}]}', '{"findings": 1}', "\xff"])
def test_an_invalid_baseline_exits_with_2(audit: Audit, tmp_path: Path, held: str) -> None:
    (tmp_path / "baseline.json").write_bytes(held.encode("latin-1"))
    assert audit([row()], "--baseline", "baseline.json")[0] == 2


def test_a_database_that_cannot_be_audited_exits_with_2(audit: Audit) -> None:
    assert audit([], url="postgresql://tasks_api@127.0.0.1:1/tasks") == (2, "")
    assert audit([], url="")[0] == 2


def test_the_other_commands_take_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app", "prove", "--format", "json"])
    with pytest.raises(SystemExit, match="usage:"):
        main()


def test_a_fingerprint_depends_on_the_cause_and_not_on_text_order_or_severity() -> None:
    other = row(thing="app.u")
    reworded = row("warning", finding="Otherwise.", remedy="drop policy a\n  on app.t; -- and look")
    assert fingerprints(row(), other) == fingerprints(reworded, other)
    assert set(fingerprints(row(), other)) == set(fingerprints(other, row()))


def test_each_cause_has_a_fingerprint_of_its_own() -> None:
    causes = [row(), row(thing="app.u"), row(remedy="drop policy b on app.t;"), row(), row()]
    assert len(set(fingerprints(*causes))) == len(causes)
    assert len(set(fingerprints(("hole", "policy", "a", "", ""), ("hole", "view", "a", "", "")))) == 2


def test_findings_in_the_baseline_do_not_fail(audit: Audit, tmp_path: Path) -> None:
    kept = tmp_path / "baseline.json"
    code, said = audit([row(), row("warning", "app.u")], "--format", "json")
    assert code == 1
    kept.write_text(said)
    options = ("--baseline", "baseline.json", "--fail-on", "warning")
    code, said = audit([row("warning", "app.u", "In other words."), row()], *options)
    assert code == 0
    assert said.endswith("1 holes, 1 warnings, 2 in the baseline\n")
    assert audit([row(), row(thing="app.new")], *options)[0] == 1
    assert audit([row(), row()], *options)[0] == 1  # a second finding with the same cause is new


@pytest.mark.parametrize(("before", "status"), [("accepted", 1), ("hint", 1), ("warning", 1), ("hole", 0)])
def test_a_finding_that_is_more_severe_than_in_the_baseline_is_new(
    audit: Audit, tmp_path: Path, before: str, status: int
) -> None:
    (tmp_path / "baseline.json").write_text(audit([row(before)], "--format", "json")[1])
    assert audit([row()], "--baseline", "baseline.json")[0] == status


def test_the_json_is_the_same_each_time_and_has_the_members_that_are_documented(audit: Audit) -> None:
    said = audit([row()], "--format", "json")[1]
    assert said == audit([row()], "--format", "json")[1]
    document = json.loads(said)
    assert set(document) == {"version", "audit", "summary", "findings"}
    [finding] = document["findings"]
    section = (SQL / "README.md").read_text().partition("## In a pipeline")[2]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert list(finding) == documented
    assert finding["help"] == "sql/checks.md#policy"


def test_the_sarif_has_what_its_schema_and_github_require(audit: Audit) -> None:
    rows = [row(severity) for severity in LEVELS] + [("hole", "view", "app.v", "", "")]
    log = json.loads(audit(rows, "--format", "sarif")[1])
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["policy", "view"]
    for rule in rules:
        assert re.fullmatch(rf"file:///.+/sql/checks\.md#{rule['id']}", rule["helpUri"])
        assert "**Fix.**" in rule["help"]["markdown"]
    lines = (SQL / "checks.md").read_text().splitlines()
    for result, (severity, check, thing, *_) in zip(run["results"], rows, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == check
        assert result["level"] == LEVELS[severity]
        assert (result["level"] == "none") == (result["kind"] != "fail")  # 3.27.10
        assert ("suppressions" in result) == (severity == "accepted")
        assert "baselineState" not in result
        assert f"sql/checks.md#{check}" in result["message"]["text"]
        [place] = result["locations"]
        assert place["logicalLocations"][0]["fullyQualifiedName"] == thing
        region = place["physicalLocation"]["region"]
        assert lines[region["startLine"] - 1] == f"## {check}"
    prints = [result["partialFingerprints"]["finding/v1"] for result in run["results"]]
    assert len(set(prints)) == len(rows)


def test_the_sarif_marks_new_findings(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_text(audit([row()], "--format", "json")[1])
    rows = [row(), row(thing="app.new")]
    log = json.loads(audit(rows, "--format", "sarif", "--baseline", "baseline.json")[1])
    assert [r["baselineState"] for r in log["runs"][0]["results"]] == ["unchanged", "new"]


def test_names_in_the_database_are_escaped(audit: Audit) -> None:
    thing, finding = '"<img src=x>[a](b)|`c`"', "<script>\n# not a heading"
    said = audit(
        [row(thing=thing, finding=finding, remedy="drop view a;\n```\n# neither")], "--format", "markdown"
    )[1]
    assert "<" not in said
    assert "[a](b)" not in said
    assert "````sql\ndrop view a;\n```\n# neither\n````" in said
    assert [line for line in said.splitlines() if line.startswith("#")] == [
        '### hole: "&lt;img src=x&gt;\\[a\\](b)\\|\\`c\\`"',
        "# neither",
    ]
    assert "[policy](sql/checks.md#policy)" in said


def test_every_check_has_a_heading_and_every_heading_a_check() -> None:
    audited = (SQL / "audit.sql").read_text()
    found = re.findall(r"^found_\w+ .*?^\),$", audited, re.MULTILINE | re.DOTALL)
    grants = audited.partition("\nwithheld (")[2].partition("\n),")[0]
    checks = {"accepted"}
    for first in re.findall(r"^  select (case .*? end|\S+),", "".join(found), re.MULTILINE):
        checks |= {*re.findall(r"(?:^|then |else )'(\w+)'", first)}
    for rows in re.findall(r"\(values((?:(?!\(values).)*?)\) as \w+ \(check_name", "".join(found), re.DOTALL):
        checks |= {*re.findall(r"^    \('(\w+)'", rows, re.MULTILINE)}
    checks |= {*re.findall(r"^  \('(\w+)',", grants, re.MULTILINE)}
    pages = findings.read_pages()
    assert len(checks) > 40
    assert set(pages) == checks
    for name, (text, _) in pages.items():
        for part in ("```sql\n", "\n```\n", "**Fix.** ", "**Accept** "):
            assert part in text, f"{name}: {part}"


def test_the_sarif_of_a_migrated_database_has_no_results(server: Server, database: str) -> None:
    text, sound = reports.audit(server.conninfo(database), "sarif", "warning")
    assert sound
    assert json.loads(text)["runs"][0]["results"] == []


def test_fail_on_in_the_session_does_not_end_the_command(
    server: Server, clone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c audit.fail_on=hole")
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks disable row level security")
    assert not reports.audit(server.conninfo(clone), "json").sound
