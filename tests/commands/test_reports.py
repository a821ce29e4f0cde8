"""The output and exit status of make audit, make prove, make policies and make report."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest
from conftest import ROOT, Server
from embedded.programs import find_programs
from psycopg.conninfo import make_conninfo
from support.holes import planted

from app import __version__
from app.api import statements
from app.commands import database as commands
from app.commands import page, reports
from app.postgres import safety
from app.postgres.safety import SQL

FINDING = """
select severity, 'some_check' as check_name, 'app.tasks' as object, 'Everybody reads it.' as finding,
  E'revoke all\\n  on app.tasks from public;' as remedy
from unnest(string_to_array('{}', ',')) as severity
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that replaces audit.sql by one with findings of these severities."""
    monkeypatch.setattr(reports, "SQL", tmp_path)

    def find(severities: str) -> None:
        (tmp_path / "audit.sql").write_text(FINDING.format(severities))

    return find


def run(make: Callable[[str], reports.Report], **urls: str) -> object:
    """Run a command with only these URLs set; return its exit status."""
    with patch.dict(os.environ, urls):
        for name in {"MIGRATION_DATABASE_URL", "DATABASE_URL"} - urls.keys():
            os.environ.pop(name, None)
        with pytest.raises(SystemExit) as end:
            commands.report(make)
    return end.value.code


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent an .env of the developer from being read."""
    monkeypatch.chdir(tmp_path)


def test_an_audit_without_findings_succeeds(
    server: Server, database: str, found: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    found("")
    assert run(reports.audit, DATABASE_URL=server.conninfo(database, "tasks_api")) == 0
    assert capsys.readouterr().out == "0 holes, 0 warnings\n"


def test_an_audit_with_a_warning_succeeds(
    server: Server, database: str, found: Callable[[str], None]
) -> None:
    found("warning")
    assert run(reports.audit, DATABASE_URL=server.conninfo(database)) == 0


def test_an_audit_with_a_hole_fails_and_prints_the_remedy(
    server: Server, database: str, found: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    found("hole,warning")
    assert run(reports.audit, DATABASE_URL=server.conninfo(database)) == 1
    blocks = capsys.readouterr().out.split("\n\n")
    assert blocks[0] == (
        "hole: some_check: app.tasks\n  Everybody reads it.\n    revoke all\n      on app.tasks from public;"
        "\n  See sql/checks.md#some_check"
    )
    assert blocks[-1] == "1 holes, 1 warnings\n"


@pytest.mark.parametrize("user", ["postgres", "tasks_api"])
def test_the_audit_of_a_migrated_database_finds_nothing(server: Server, database: str, user: str) -> None:
    assert reports.audit(server.conninfo(database, user)) == ("0 holes, 0 warnings", True)


def test_reports_do_not_depend_on_how_the_database_formats_sql_and_values(
    server: Server, clone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    plain = [make(server.conninfo(clone)) for make in (reports.audit, reports.prove, reports.policies)]
    with server.connect(clone) as owner:
        for setting in (
            "quote_all_identifiers = on",
            "datestyle = 'SQL, DMY'",
            "intervalstyle = 'sql_standard'",
            "standard_conforming_strings = off",
            "extra_float_digits = -15",
        ):
            owner.execute(f"alter database {clone} set {setting}".encode())
    assert [
        make(server.conninfo(clone)) for make in (reports.audit, reports.prove, reports.policies)
    ] == plain


def test_a_report_may_take_longer_than_the_roles_statement_timeout(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=500")
    (slow,) = reports.run(server.conninfo(database), "audit", b"select pg_sleep(0.6)")
    assert len(slow.rows) == 1


def test_the_audit_fails_on_an_open_table(server: Server, clone: str) -> None:
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks disable row level security")
    text, sound = reports.audit(server.conninfo(clone))
    assert not sound
    assert "hole: " in text
    assert "app.tasks" in text


def test_a_proof_succeeds_and_shows_each_attempt(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(reports.prove, DATABASE_URL=server.conninfo(database, "tasks_api")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tried", "must", "happened", "result"]
    assert " ".join(lines[2].split()) == ("nobody reads tasks in a new session find nothing found nothing ok")
    assert lines[-1] == f"{len(lines) - 3} attempts, none BROKEN"


def test_a_proof_with_a_broken_attempt_fails(
    server: Server, clone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.connect(clone) as owner:
        owner.execute("grant truncate on app.tasks to tasks_api")
    assert run(reports.prove, DATABASE_URL=server.conninfo(clone, "tasks_api")) == 1
    assert "1 BROKEN" in capsys.readouterr().out


def test_the_owners_url_is_used_first(
    server: Server, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, other = server.conninfo(database), server.conninfo("postgres")
    assert run(reports.prove, MIGRATION_DATABASE_URL=owner, DATABASE_URL=other) == 0
    assert "postgres has no row security policy" in str(
        run(reports.prove, MIGRATION_DATABASE_URL=other, DATABASE_URL=owner)
    )
    assert "none BROKEN" in capsys.readouterr().out


@pytest.mark.parametrize("setting", ["MIGRATION_DATABASE_URL", "DATABASE_URL"])
def test_an_unavailable_database_is_tried_once_and_reported_without_its_password(
    capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    with patch("psycopg.connect", wraps=psycopg.connect) as connect:
        end = run(reports.policies, **{setting: "postgresql://tasks_api:s3cret@127.0.0.1:1/tasks"})
    assert connect.call_count == 1
    assert str(end).startswith(f"{setting}: connection failed")
    assert "s3cret" not in str(end) + "".join(capsys.readouterr())


def test_an_audit_without_a_database_url_fails() -> None:
    assert str(run(reports.audit)).startswith("DATABASE_URL: is missing")


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_is_aligned_and_wrapped_between_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = "word " * 30
    lines = list(reports.lay_out(reports.Table(["one", "two"], [["x", said], ["longer", ""]])))
    assert lines[0] == "one     two"
    assert lines[2].startswith("x       word")
    assert all(set(line[8:].split()) <= {"word"} for line in lines[2:-1])
    assert max(map(len, lines)) <= width
    assert len(lines) == (6 if width == 80 else 4)


def test_a_table_that_is_too_wide_has_a_line_for_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = "x" * 40
    table = reports.Table(["one", "three"], [[long, f"{long} {'word ' * 9}"], ["a", ""]])
    assert "\n".join(reports.lay_out(table)) == (
        f"one    {long}\nthree  {long} word word\n       {' '.join(['word'] * 7)}\n\none    a\n"
    )


def test_the_policies_are_shown_in_words_and_sql(server: Server, database: str) -> None:
    [matrix] = reports.run(server.conninfo(database, "tasks_api"), "policies.sql")
    rows = {(row[0], row[1]): dict(zip(matrix.names, row, strict=True)) for row in matrix.rows}
    assert rows["app.tasks", "update"] == {
        "table": "app.tasks",
        "command": "update",
        "role": "tasks_api",
        "columns": statements.NAMES,
        "policy": "update_own",
        "in words": "Users update only their own tasks, and cannot give them to another user.",
        "sees rows where": "(user_id = app.current_user_id())",
        "writes rows where": "(user_id = app.current_user_id())",
        "remark": "",
    }
    erased = rows["app.users", "delete"]
    assert (erased["role"], erased["columns"], erased["remark"]) == ("pg_database_owner", "all", "")
    assert len(matrix.rows) == 18


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("drop policy delete_own on app.tasks", "app.tasks delete granted, but no policy allows it: no row"),
        ("revoke delete on app.tasks from tasks_api", "app.tasks delete policy without grant: never applied"),
        ("grant delete on app.users to public", "app.users delete granted, but no policy allows it: no row"),
        ("grant truncate on app.users to tasks_api", "app.users truncate row security does not apply"),
        ("grant select on app.users to tasks_api with grant option", "app.users select with grant option"),
        (
            "alter table app.tasks disable row level security",
            "app.tasks select row security is OFF: every row",
        ),
        ("create view app.v as select", "app.v as owner not a table: has no row security of its own"),
        ("alter role tasks_api bypassrls", "app.tasks insert the role bypasses row security: every row"),
    ],
)
def test_grants_and_policies_that_do_not_match_are_reported(
    server: Server, database: str, change: str, expected: str
) -> None:
    query = (SQL / "policies.sql").read_bytes()
    with planted(server, database, change) as owner:
        cursor = owner.execute(query)
        assert expected in {f"{row[0]} {row[1]} {row[-1]}" for row in cursor}


SHOP = """
create schema shop; create schema office; create schema attic;
create table shop.orders (id bigint, customer text);
alter table shop.orders enable row level security;
create policy own on shop.orders using (customer = current_setting('shop.customer', true));
grant select on shop.orders to tasks_api;
create view office.all_orders as select * from shop.orders;
grant select on office.all_orders to public;
create table attic.old_orders (id bigint);
"""


@pytest.mark.usefixtures("template")  # creates tasks_api
@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("", {("office.all_orders", "PUBLIC"), ("shop.orders", "tasks_api"), ("shop.orders", "PUBLIC")}),
        ("-c audit.schema=office,attic", {("office.all_orders", "PUBLIC")}),
        (
            "-c audit.role=tasks_api -c audit.schema=shop",
            {("shop.orders", "tasks_api"), ("shop.orders", "PUBLIC")},
        ),
        ("-c audit.role=postgres -c audit.schema=shop", {("shop.orders", "PUBLIC")}),
    ],
)
def test_the_policies_of_another_database_are_shown(
    server: Server, settings: str, shown: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with server.database() as name:
        with server.connect(name) as owner:
            owner.execute(SHOP)
        conninfo = make_conninfo(server.conninfo(name), options=settings)
        [matrix] = reports.run(conninfo, "policies.sql")
        assert {(table, role) for table, command, role, *_ in matrix.rows if command != "as owner"} == shown
        text = reports.policies(conninfo).text
    assert ("attic.old_orders" in text) == ("attic" in settings)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("command", ["audit", "policies"])
def test_a_report_to_a_closed_pipe_prints_no_traceback(server: Server, database: str, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"DATABASE_URL": server.conninfo(database, "tasks_api")}
    arguments = [sys.executable, "-m", "app", command]
    done = subprocess.run(
        arguments, stdout=writer, stderr=subprocess.PIPE, env=environment, check=True, cwd=ROOT
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.usefixtures("template")  # creates tasks_api
@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
def test_a_database_in_an_older_encoding_can_be_audited(server: Server, encoding: str) -> None:
    name = f"older_{uuid4().hex[:12]}"
    with server.connect("postgres") as superuser:
        superuser.execute(
            f"create database {name} encoding '{encoding}' locale 'C' template template0".encode()
        )
        try:
            with server.connect(name) as owner:
                owner.execute(SHOP)
            assert "shop" in reports.policies(server.conninfo(name)).text
            assert "shop" in reports.audit(server.conninfo(name)).text
            assert "none BROKEN" in reports.prove(server.conninfo(name)).text
        finally:
            superuser.execute(f"drop database {name} with (force)".encode())


@pytest.mark.parametrize("name", ["audit.sql", "prove.sql", "policies.sql"])
def test_each_file_runs_in_plain_psql(server: Server, database: str, name: str) -> None:
    command = [str(find_programs() / "psql"), "-X", "-v", "ON_ERROR_STOP=1", "-f", str(SQL / name)]
    done = subprocess.run(
        [*command, server.conninfo(database)], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {"audit.sql": "(0 rows)", "prove.sql": "none BROKEN", "policies.sql": "(18 rows)"}[
        name
    ] in done.stdout


def test_the_page_for_an_auditor_shows_findings_accepted_ones_and_attempts(
    server: Server, clone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.connect(clone) as owner:
        owner.execute("create policy everyone on app.tasks for select to tasks_api using (title <> '<b>')")
        owner.execute(
            "insert into audit.accepted (check_name, object, reason)"
            " values ('row_security', 'app.old', 'gone')"
        )
    assert run(page.report, DATABASE_URL=server.conninfo(clone)) == 1
    assert "NOT sound" in capsys.readouterr().out
    html = page.PAGE.read_text()
    verdict, _, rest = html.partition("</section>")
    assert 'class="verdict broken"' in verdict
    assert "policy: everyone on app.tasks: this permissive policy lets" in verdict
    assert "<td>hole" not in verdict
    assert '<td data-name="page">sql/checks.md#policy' in rest
    assert "<summary>BROKEN (" in rest
    assert rest.index("<summary>BROKEN (") < rest.index("<summary>must find nothing (")
    assert "everyone on app.tasks" in rest
    assert "drop policy if exists everyone on app.tasks;" in html
    assert "gone" in html
    assert "Users see their own tasks only." in html
    assert "alice reads bob&#x27;s tasks" in html
    assert "<b>" not in html
    assert "://" not in html


def test_a_page_that_cannot_be_written_is_an_error_in_one_line(server: Server, database: str) -> None:
    page.PAGE.mkdir()
    said = run(page.report, DATABASE_URL=server.conninfo(database))
    assert f"{page.PAGE.resolve()} cannot be written: Is a directory; run this in a folder" in str(said)


def test_the_page_of_a_sound_database_says_so(
    server: Server, database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATESTYLE", "German")
    Path("services").write_text(f"[tasks]\nhost={server.host}\ndbname={database}\nuser=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(Path("services").absolute()))
    assert run(page.report, DATABASE_URL="service=tasks") == 0
    assert capsys.readouterr().out.endswith(": sound\n")
    html = page.PAGE.read_text()
    assert 'class="verdict ok"' in html
    assert "BROKEN (" not in html
    facts = dict(re.findall(r"<dt>([^<]+)<dd>([^<]+)", html))
    assert facts["host"] == server.host
    assert facts["server"].startswith(f"PostgreSQL {server.version}")
    assert (facts["database"], facts["role"], facts["release"]) == (database, "postgres", __version__)
    assert facts["migration"] == str(safety.SCHEMA_VERSION)
    assert facts.keys() >= {"commit", "run by", "at"}
    row = re.search(r"<tr><th>app.users(.*?)(?:<tr>|</tbody>)", html)
    assert row
    marks = re.findall(r"<td[^>]*>(.*?)(?=<td|$)", row[1])
    assert [re.sub("<[^>]+>", " ", mark).split() for mark in marks] == [
        ["&#10003;", "select,", "delete"],
        ["every", "row:", "as", "owner"],
        ["&#10003;", "select,", "insert,", "update"],
    ]


def test_names_on_the_page_are_never_broken_in_the_middle() -> None:
    assert not re.search(r"anywhere|break-word|break-all|hyphens", page.STYLE)


def test_the_page_calls_no_function_that_another_role_could_have_created(server: Server, clone: str) -> None:
    """Only the superuser may use the sequence, and a rollback does not reset it."""
    with server.connect(clone) as owner:
        owner.execute("create sequence public.runs; drop table audit.accepted")
        owner.execute(
            "create or replace function app.schema_version() returns integer language sql"
            " as $$ select nextval('public.runs')::integer $$"
        )
        owner.execute(
            "create view audit.accepted as select nextval('public.runs') as check_name, '' as object,"
            " '' as reason, '' as accepted_by, '' as accepted_on, '' as expires_on"
        )
    assert run(page.report, DATABASE_URL=server.conninfo(clone)) in {0, 1}
    with server.connect(clone) as owner:
        assert owner.execute("select is_called from public.runs").fetchone() == (False,)


def test_the_page_keeps_names_and_marks_readable(server: Server, clone: str) -> None:
    """Long names can be broken only after an underscore. A view is not marked as protected."""
    view = "all_that_everybody_has_to_do_today"
    with server.connect(clone) as owner:
        owner.execute("create policy everyone on app.tasks for select to tasks_api using (title <> 'b')")
        owner.execute(
            f"create view app.{view} as select * from app.tasks; grant select on app.{view} to tasks_api"
        )
        for n in range(11):
            owner.execute(
                f"create table app.open_{n} (user_id text); grant select on app.open_{n} to tasks_api"
            )
    assert run(page.report, DATABASE_URL=server.conninfo(clone)) == 1
    verdict, _, rest = page.PAGE.read_text().partition("</section>")
    access, _, listed = rest.partition("<h2>Policies</h2>")
    assert verdict.count("<li>") == 10 + 1 + 3  # holes, the number of other holes, attempts
    assert " more: see Findings" in verdict
    assert "app.<wbr>all_<wbr>that_<wbr>everybody_<wbr>has_<wbr>to_<wbr>do_<wbr>today" in access
    assert "app.idempotency_keys" in access
    assert '<td class="marks" data-name="tasks_api"><span class="view">view: select</span>' in access
    assert '<span class="held">&#10003; select, insert, update, delete</span>' in access
    policies, _, _ = listed.partition("<h2>Findings</h2>")
    assert policies.count('<tr class="name">') == 3  # tables with policies
    assert ">app.tasks<" in policies
