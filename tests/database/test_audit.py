"""The audit reports every hole with a remedy that fixes it, and reports nothing on a secure database.

The holes are in holes/*.sql, each with the finding that must report it and, if it can be exploited,
with SQL that exploits it. All are made in one database, in transactions that are rolled back,
including roles and settings.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from conftest import ROOT, Server, on_18
from embedded.programs import find_programs

from app.commands import migrations

AUDIT = (ROOT / "sql" / "audit.sql").read_text()
HOLES = ROOT / "tests" / "holes"
NEWEST = 18
HEADER = re.compile(
    r"-- (?P<name>.+?): (?P<severity>hole|warning|hint|note) (?P<check>\w+) (?P<object>.+?)"
    r"(?: \| (?P<options>.+))?"
)


class Finding(NamedTuple):
    """A row of the audit."""

    severity: str
    check_name: str
    object: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class Hole:
    """SQL that makes a hole, the finding that must report it, and SQL that exploits it and returns true."""

    section: str
    name: str
    severity: str
    check: str
    object: str
    options: frozenset[str]
    plant: str
    exploit: str

    def found_in(self, findings: list[Finding], database: str) -> bool:
        name = self.object.replace("{database}", database)
        return any(
            (f.severity, f.check_name) == (self.severity, self.check) and name in f.object for f in findings
        )


def _blocks(file: Path) -> list[str]:
    return file.read_text().strip().split("\n\n")[1:]


def _hole(section: str, block: str) -> Hole:
    header, _, body = block.partition("\n")
    match = HEADER.fullmatch(header)
    assert match, f"{section}: {header}"
    options = frozenset((match["options"] or "").split(" | ")) - {""}
    plant, _, exploit = body.partition("\n-- exploit\n")
    return Hole(
        section, match["name"], match["severity"], match["check"], match["object"], options, plant, exploit
    )


SOUND = ("sound", "no_hole")
ALL = [_hole(f.stem, b) for f in sorted(HOLES.glob("*.sql")) if f.stem not in SOUND for b in _blocks(f)]
SECTIONS = sorted({hole.section for hole in ALL})

# Functions that exploits call, a procedure that protects a table, and rows of alice and mallory.
ATTACK = """
create schema attack;
grant usage on schema attack to public;

create function attack.sees(relation text) returns boolean language plpgsql as $$
declare
  seen boolean;
begin
  execute 'select exists (select from ' || relation || ' where user_id = ''alice'')' into seen;
  return seen;
end
$$;

create function attack.learns(code text, statement text) returns boolean language plpgsql as $$
begin
  execute statement;
  return false;
exception when others then
  return sqlstate = code;
end
$$;

create procedure attack.protect(
  relation text,
  rights text default 'select, insert, update, delete',
  test text default 'user_id = app.current_user_id()'
) language plpgsql as $$
begin
  execute format('alter table %s enable row level security', relation);
  execute format('alter table %s force row level security', relation);
  execute format('create policy own on %s for all to tasks_api using (%s) with check (%2$s)', relation, test);
  execute format('grant %s on %s to tasks_api', rights, relation);
end
$$;

insert into app.users (id, last_task_id) values ('alice', 77), ('mallory', 1);
insert into app.tasks (id, user_id, title) values (77, 'alice', 'secret');
insert into app.idempotency_keys (user_id, key, task) values ('alice', 'key', '{}');
"""


@dataclass(frozen=True)
class Stage:
    """A database in which holes are made, with a connection of a superuser."""

    connection: psycopg.Connection
    database: str
    version: int
    icu: bool

    def can_have(self, options: frozenset[str]) -> bool:
        since = max((int(o.removeprefix("from ")) for o in options if o.startswith("from ")), default=0)
        return self.version >= since and (self.icu or "icu" not in options)

    def run(self, sql: str) -> psycopg.Cursor:
        cursor = self.connection.execute(sql.replace("{database}", self.database))
        while cursor.nextset():
            pass
        return cursor

    @contextmanager
    def planted(self, *holes: str) -> Iterator[None]:
        with self.connection.transaction(force_rollback=True):
            for hole in holes:
                self.run(hole)
            yield

    def audit(self) -> list[Finding]:
        """Run the audit with a plan that is kept, since planning takes three times as long as execution."""
        return audit(self.connection, "execute audit")

    def serves(self) -> bool:
        """Create, change and list tasks as a user, which must work after each remedy."""
        with self.connection.transaction(force_rollback=True):
            self.run(LIFE)
        return True

    def mend(self, left: list[Finding]) -> list[Finding]:
        """Run the remedies, and again those of the findings that are left or that a remedy has caused."""
        for _ in range(3):
            if not left:
                break
            for finding in left:
                try:
                    with self.connection.transaction():
                        self.run(finding.remedy)
                except psycopg.errors.DependentObjectsStillExist:
                    pass  # the remedy of another finding drops the policy that uses the object
                except psycopg.errors.UndefinedColumn:
                    pass  # the remedy of another finding has dropped the column
            left = self.audit()
        return left


LIFE = """
do $$
begin
  perform set_config('app.user_id', 'zoe', true);
  set local role tasks_api;
  insert into app.tasks (title) values ('mine');
  update app.tasks set title = 'changed' where user_id = 'zoe';
  perform app.create_task_once('key', '{"title": "once"}');
  if (select count(*) from app.tasks) <> 2 then
    raise 'zoe does not see her two tasks';
  end if;
end
$$
"""


def audit(connection: psycopg.Connection, statement: str = AUDIT) -> list[Finding]:
    """Run the audit as make audit does."""
    with connection.transaction(force_rollback=True):
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute("set local jit = off")
        return [Finding(*row) for row in connection.execute(statement.encode())]


@pytest.fixture(scope="module")
def stage(server: Server, template: str) -> Iterator[Stage]:
    with server.database(template) as name, server.connect(name) as connection:
        connection.prepare_threshold = None  # else psycopg's DEALLOCATE ALL would also drop `audit`
        connection.execute(ATTACK)
        connection.execute(f"prepare audit as {AUDIT}")
        icu = connection.execute("select from pg_collation where collname = 'en-x-icu'").rowcount == 1
        yield Stage(connection, name, int(server.version), icu)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_hole_is_reported_and_its_remedy_fixes_it(stage: Stage, section: str) -> None:
    holes = [
        h for h in ALL if h.section == section and "alone" not in h.options and stage.can_have(h.options)
    ]
    with stage.planted(*(h.plant for h in holes)):
        findings = stage.audit()
        missed = [h.name for h in holes if not h.found_in(findings, stage.database)]
        assert missed == []
        unmended = [h for h in holes if "unmended" in h.options]
        left = [f for f in stage.mend(findings) if not any(h.found_in([f], stage.database) for h in unmended)]
        assert left == []
        assert stage.serves()


@pytest.mark.parametrize(
    "hole", [h for h in ALL if "alone" in h.options], ids=lambda h: f"{h.section}: {h.name}"
)
def test_a_hole_that_must_be_alone_is_reported(stage: Stage, hole: Hole) -> None:
    if not stage.can_have(hole.options):
        pytest.skip("this server has no such hole")
    with stage.planted(hole.plant):
        findings = stage.audit()
        assert hole.found_in(findings, stage.database)
        if "unmended" not in hole.options and stage.version == NEWEST:
            assert stage.mend(findings) == []
            assert stage.serves()


@pytest.mark.parametrize("hole", [h for h in ALL if h.exploit], ids=lambda h: f"{h.section}: {h.name}")
def test_a_hole_can_be_exploited(stage: Stage, hole: Hole) -> None:
    if not stage.can_have(hole.options):
        pytest.skip("this server has no such hole")
    with stage.planted(hole.plant):
        stage.run("select set_config('app.user_id', 'mallory', true)")
        stage.run("set local role tasks_api")
        assert stage.run(hole.exploit).fetchone() == (True,)


def test_a_foreign_key_says_which_rows_of_others_a_delete_reaches(stage: Stage) -> None:
    [hole] = [h for h in ALL if h.name == "a delete that reaches rows of others"]
    for action, effect in (
        ("cascade", "a user who deletes the row there also deletes rows of others"),
        ("set null", "a user who deletes the row there also changes rows of others"),
        ("restrict", "attach rows to it"),
    ):
        with stage.planted(hole.plant.replace("on delete cascade", f"on delete {action}")):
            [finding] = [f.finding for f in stage.audit() if f.check_name == "foreign_key"]
        assert effect in finding
        assert ("also" in finding) == (action != "restrict")


def _sound(stage: Stage, name: str) -> Iterator[list[str]]:
    """Yield all variations that can be made together, then each of the others."""
    variations = [(b, frozenset(b.partition("\n")[0].split(" | "))) for b in _blocks(HOLES / name)]
    possible = [(b, options) for b, options in variations if stage.can_have(options)]
    yield [b for b, options in possible if "alone" not in options]
    yield from ([b] for b, options in possible if "alone" in options)


def test_secure_variations_have_no_findings(stage: Stage) -> None:
    for blocks in _sound(stage, "sound.sql"):
        with stage.planted(*blocks):
            assert stage.audit() == []


def test_a_secure_change_is_not_a_hole(stage: Stage) -> None:
    for blocks in _sound(stage, "no_hole.sql"):
        with stage.planted(*blocks):
            assert [f for f in stage.audit() if f.severity == "hole"] == []


@pytest.mark.parametrize("role", ["postgres", "tasks_api"])
def test_a_fresh_database_has_no_findings(server: Server, database: str, role: str) -> None:
    with server.connect(database, role) as connection:
        assert audit(connection) == []


@pytest.fixture
def migrator(server: Server) -> Iterator[str]:
    """A role with CREATEROLE that owns a database and is not a superuser."""
    name = f"migrator_{uuid4().hex[:12]}"
    with server.connect("postgres") as admin:
        admin.execute(f"create role {name} login createrole")
        try:
            yield name
        finally:
            admin.execute(f"drop role {name}")


@pytest.fixture
def owned(server: Server, migrator: str) -> Iterator[str]:
    """The name of a database whose owner is not a superuser and has migrated it."""
    with server.database() as name:
        with server.connect("postgres") as admin:
            admin.execute(f"alter database {name} owner to {migrator}")
        migrations.migrate(server.conninfo(name, migrator))
        yield name


@pytest.fixture
def nobody(server: Server) -> Iterator[str]:
    """A role without any privilege."""
    name = f"nobody_{uuid4().hex[:12]}"
    with server.connect("postgres") as admin:
        admin.execute(f"create role {name} login")
        try:
            yield name
        finally:
            admin.execute(f"drop role {name}")


@pytest.mark.usefixtures("template")  # lets tasks_api log in
def test_any_role_may_run_the_audit(server: Server, owned: str, migrator: str, nobody: str) -> None:
    for role in ("postgres", migrator, "tasks_api", nobody):
        with server.connect(owned, role) as connection:
            assert audit(connection) == [], role


def test_all_roles_get_the_same_findings(server: Server, clone: str, nobody: str) -> None:
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks disable row level security")
        expected = audit(owner)
    assert [f.check_name for f in expected] == ["row_security"]
    for role in ("tasks_api", nobody):
        with server.connect(clone, role) as connection:
            assert audit(connection) == expected


@pytest.mark.parametrize("section", SECTIONS)
def test_a_role_without_privileges_gets_the_findings_of_a_superuser(
    stage: Stage, nobody: str, section: str
) -> None:
    holes = [
        h for h in ALL if h.section == section and "alone" not in h.options and stage.can_have(h.options)
    ]
    with stage.planted(*(h.plant for h in holes)):
        expected = {f[:3] for f in stage.audit()}
        stage.run(f"set local session authorization {nobody}")
        found = {f[:3] for f in stage.audit()}
    assert found == expected


def test_a_user_that_the_session_itself_has_set_is_not_a_finding(server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as connection:
        connection.execute("select set_config('app.user_id', 'alice', false)")
        assert audit(connection) == []


def test_a_read_only_transaction_is_enough(stage: Stage) -> None:
    with stage.planted("set transaction read only"):
        assert stage.audit() == []


def test_a_search_path_of_the_session_that_could_mislead_the_audit_is_a_hole(stage: Stage) -> None:
    with stage.planted(
        "create role forger",
        "grant create on schema attack to forger; set local search_path = attack, public",
    ):
        findings = [Finding(*row) for row in stage.connection.execute(AUDIT.encode())]
    assert [(f.severity, f.check_name, f.object) for f in findings] == [
        ("hole", "search_path", "the search_path of this session")
    ]


def test_the_estimated_cost_is_too_low_for_jit(server: Server, database: str) -> None:
    """The server compiles statements above this estimated cost, which takes twenty seconds for this one."""
    with server.connect(database) as connection:  # not `stage`: its dead rows increase the estimate
        connection.execute("analyze")  # as autovacuum does; otherwise the estimate may be above the limit
        explained: Any = connection.execute(f"explain (format json) {AUDIT}".encode()).fetchone()
        [(limit,)] = connection.execute("select current_setting('jit_above_cost')::float").fetchall()
    assert explained[0][0]["Plan"]["Total Cost"] < limit


MANY = """
do $$
begin
  for i in 1..200 loop
    execute format('create table app.t%s (id bigint, user_id text default app.current_user_id(), title text,
      team bigint, primary key (user_id, id))', i);
    execute format('alter table app.t%s enable row level security', i);
    execute format('create policy own on app.t%s to tasks_api using (user_id = app.current_user_id())', i);
    execute format('create policy team on app.t%s for select to tasks_api using (exists (
      select from app.t%s m where m.team = t%1$s.team and m.user_id = app.current_user_id()))',
      i, greatest(i - 1, 1));
    execute format('grant select, delete, insert (id, title), update (title) on app.t%s to tasks_api', i);
    execute format('create table app.p%s (id bigint primary key, name text)', i);
    execute format('grant select on app.p%s to tasks_api', i);
    execute format('create function app.f%s(a bigint) returns boolean language sql stable security definer
      set search_path = app, pg_temp as %L', i, format(
      'select exists (select from t%s where id = a and user_id = app.current_user_id())', i));
  end loop;
end $$;
"""


@pytest.mark.long
def test_the_number_of_rows_read_grows_linearly_with_the_number_of_tables(stage: Stage) -> None:
    """Each table adds some 5,000 rows that the plan reads, joins or discards."""

    def work(plan: dict[str, Any]) -> float:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
        children = sum(work(child) for child in plan.get("Plans", []))
        return float(plan["Actual Loops"] * (plan["Actual Rows"] + removed)) + children

    with stage.connection.transaction(force_rollback=True):
        stage.connection.execute(MANY)
        stage.connection.execute("analyze")
        stage.connection.execute("set local search_path = pg_catalog, pg_temp")
        stage.connection.execute("set local statement_timeout = '2min'")
        explain = f"explain (analyze, timing off, format json) {AUDIT}"
        [(plan,)] = stage.connection.execute(explain).fetchall()
        assert work(plan[0]["Plan"]) < 200 * 10_000


def test_psql_can_run_the_audit(server: Server, database: str) -> None:
    psql = shutil.which("psql") or str(find_programs() / "psql")
    command = [psql, "-XAt", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo(database), "-f", "sql/audit.sql"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_default_for_the_user_is_a_hole(server: Server, clone: str) -> None:
    with server.connect(clone) as owner:
        owner.execute("insert into app.users (id) values ('alice')")
        owner.execute(f"alter role tasks_api in database {clone} set app.user_id = 'alice'")
        assert [(f.severity, f.check_name) for f in audit(owner)] == [("hole", "setting")]
    with server.connect(clone, "tasks_api") as anybody:
        assert anybody.execute("select id from app.users").fetchall() == [("alice",)]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("row_security", "off", ("hole", "setting")),
        ("lo_compat_privileges", "on", ("hole", "setting")),
        ("synchronous_commit", "off", ("warning", "session")),
        ("full_page_writes", "off", ("warning", "session")),
    ],
)
def test_a_setting_of_the_server_is_a_finding(
    server: Server, database: str, name: str, value: str, kind: tuple[str, str]
) -> None:
    with server.connect(database) as owner:
        try:
            owner.execute(f"alter system set {name} = {value}")
            owner.execute("select pg_reload_conf()")
            while not owner.execute(
                "select from pg_settings where name = %s and setting = %s", [name, value]
            ).rowcount:
                pass
            findings = audit(owner)
        finally:
            owner.execute(f"alter system reset {name}")
            owner.execute("select pg_reload_conf()")
    assert [(f.severity, f.check_name, f.object) for f in findings] == [
        (*kind, f"configuration file: {name}")
    ]


def test_a_database_whose_lower_changes_only_ascii_is_a_warning(server: Server) -> None:
    with server.connect("postgres") as superuser:
        superuser.execute("create database folds encoding 'UTF8' locale 'C' template template0")
        try:
            migrations.migrate(server.conninfo("folds"))
            with server.connect("folds") as owner:
                findings = audit(owner)
        finally:
            superuser.execute("drop database folds")
    assert [(f.severity, f.check_name, f.object) for f in findings] == [
        ("warning", "session", "database folds")
    ]


@on_18
@pytest.mark.parametrize(
    ("version", "is_sound"),
    [
        (150013, False),
        (150014, True),
        (160009, False),
        (160010, True),
        (170005, False),
        (170006, True),
        (180000, True),
    ],
)
def test_releases_with_known_flaws_are_holes(stage: Stage, version: int, *, is_sound: bool) -> None:
    asked = "current_setting('server_version_num')"
    assert asked in AUDIT
    findings = stage.connection.execute(AUDIT.replace(asked, f"'{version}'").encode()).fetchall()
    assert [f[1] for f in findings] == ([] if is_sound else ["server_version"])


@on_18
@pytest.mark.parametrize(("version", "said"), [(140019, "older"), (190000, "newer"), (200001, "newer")])
def test_a_release_that_was_not_tested_is_a_warning(stage: Stage, version: int, said: str) -> None:
    """The version number in the audit is replaced, since such a server cannot run here."""
    asked = "current_setting('server_version_num')"
    assert asked in AUDIT
    findings = stage.connection.execute(AUDIT.replace(asked, f"'{version}'").encode()).fetchall()
    assert [f[:2] for f in findings] == [("warning", "server_version")]
    assert f"{said} than any that the audit was tested on" in str(findings[0])


SHOP = _blocks(Path(__file__).with_name("shop.sql"))
OF_THE_SHOP = """
set local audit.role = 'web'; set local audit.schema = 'shop'; set local audit.setting = 'request.jwt.claims';
set local audit.claim = 'sub'; set local audit.owners = 'tenant_id'
"""


def test_a_secure_schema_of_another_project_has_no_findings(stage: Stage) -> None:
    with stage.planted(SHOP[0], OF_THE_SHOP):
        assert stage.audit() == []


def test_every_hole_in_a_schema_of_another_project_is_reported(stage: Stage) -> None:
    holes = [_hole("shop", block) for block in SHOP[1:]]
    assert len(holes) >= 15
    with stage.planted(SHOP[0], OF_THE_SHOP, *(hole.plant for hole in holes)):
        findings = stage.audit()
        assert [h.name for h in holes if not h.found_in(findings, stage.database)] == []


@pytest.mark.parametrize("platform", sorted(f.stem for f in (HOLES / "elsewhere").glob("*.sql")))
def test_a_platform_is_known_without_a_setting(server: Server, platform: str) -> None:
    """The objects of the platform and common patterns of its projects are not holes; leaks are."""
    brought, *blocks = _blocks(HOLES / "elsewhere" / f"{platform}.sql")
    with server.database() as name, server.connect(name) as connection:
        connection.prepare_threshold = None
        connection.execute(f"prepare audit as {AUDIT}")
        empty = Stage(connection, name, int(server.version), icu=False)
        with empty.planted(brought):
            assert [f.severity for f in empty.audit() if f.severity in ("hole", "warning")] in (
                [],
                ["warning"],
            )
            for block in blocks:
                with empty.planted(block):
                    findings = empty.audit()
                if block.startswith("-- sound: "):
                    assert [f for f in findings if f.severity == "hole"] == [], block
                else:
                    assert _hole(platform, block).found_in(findings, name), block


def test_a_mistyped_setting_is_reported_as_missing(stage: Stage) -> None:
    with stage.planted("set local audit.role = 'tasks_aip'"):
        assert [f.object for f in stage.audit() if f.check_name == "missing"] == ["role tasks_aip"]
    with stage.planted("set local audit.schema = 'aap'; set local audit.preset = 'supabse'"):
        assert {f.object for f in stage.audit() if f.check_name == "missing"} == {
            "schema aap",
            "audit.preset supabse",
        }


def test_a_database_without_a_role_of_an_application_is_described(server: Server) -> None:
    with server.database() as name, server.connect(name) as owner:
        for statement, said in (
            ("select", "this database has no tables"),
            ("create table orders (id bigint primary key)", "(postgres)"),
        ):
            owner.execute(statement)
            [finding] = [f for f in audit(owner) if f.check_name == "missing"]
            assert (finding.severity, finding.object) == ("hole", "no role")
            assert said in finding.finding
            assert ("migrat" in finding.finding + finding.remedy) == (statement == "select")


def test_psql_fails_on_a_hole_if_fail_on_is_set(server: Server, clone: str) -> None:
    psql = [shutil.which("psql") or str(find_programs() / "psql"), "-X", "-v", "ON_ERROR_STOP=1"]
    command = [*psql, "-d", server.conninfo(clone), "-f", "sql/audit.sql"]
    options = {"PGOPTIONS": "-c search_path=pg_catalog,pg_temp -c audit.fail_on=hole", **environ}

    def status() -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=options)
        return done.returncode, done.stderr

    assert status() == (0, "")
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks disable row level security")
    code, told = status()
    assert code == 3
    assert "1 holes, 0 warnings: row_security app.tasks" in told


@pytest.fixture
def accepting(stage: Stage) -> Iterator[Stage]:
    """A database with an accepted hole and another one."""
    with stage.planted(
        "alter table app.tasks disable row level security; alter table app.users disable row level security",
        "insert into audit.accepted (check_name, object, reason)"
        " values ('row_security', 'app.users', 'a drill')",
    ):
        yield stage


def test_an_accepted_finding_is_listed_as_accepted_and_the_others_still_count(accepting: Stage) -> None:
    assert {(f.severity, f.object) for f in accepting.audit()} == {
        ("accepted", "app.users"),
        ("hole", "app.tasks"),
    }
    assert any("accepted by postgres" in f.finding and "a drill" in f.finding for f in accepting.audit())


def test_the_api_role_sees_the_accepted_findings(accepting: Stage) -> None:
    expected = accepting.audit()
    accepting.run("set local role tasks_api")
    assert accepting.audit() == expected


def test_an_acceptance_expires(accepting: Stage) -> None:
    accepting.run("update audit.accepted set expires_on = current_date")
    assert {f.severity for f in accepting.audit()} == {"hole"}


def test_no_finding_is_accepted_if_an_untrusted_role_may_write_the_table(accepting: Stage) -> None:
    accepting.run("create role forger; grant insert on audit.accepted to forger")
    assert {(f.severity, f.check_name) for f in accepting.audit()} == {
        ("hole", "row_security"),
        ("hole", "accepted"),
    }


def test_the_api_role_cannot_accept_a_finding(stage: Stage) -> None:
    with stage.planted("set local role tasks_api"), pytest.raises(psycopg.errors.InsufficientPrivilege):
        stage.run("insert into audit.accepted (check_name, object, reason) values ('a', 'b', 'c')")


def test_roles_with_very_many_paths_between_them_are_one_finding(stage: Stage) -> None:
    """Thirty roles, each a member of all later ones, are connected by hundreds of millions of paths."""
    names = [f"mesh_{n}" for n in range(30)]
    with stage.planted(
        *(f"create role {name}" for name in names),
        *(f"grant {b} to {a}" for n, a in enumerate(names) for b in names[n + 1 :]),
        "grant mesh_0 to tasks_api",
    ):
        found = [f for f in stage.audit() if f.check_name == "role_membership"]
    assert len(found) == 1
    assert "tasks_api -> mesh_0" in found[0].object
    assert "and so of 29 more" in found[0].finding


EXAMPLE = re.compile(r"((?:^--   .*\n)+?)^--   => (\w+) (\w+) ([^:]+): (.*)\n", re.MULTILINE)


def test_each_example_in_the_audits_comments_is_reported_as_written(stage: Stage) -> None:
    examples = EXAMPLE.findall(AUDIT)
    assert len(examples) == len(re.findall(r"^-- \d+\. ", AUDIT, re.MULTILINE))
    for sql, severity, check, name, said in examples:
        with stage.planted(sql.replace("--   ", "")):
            found = [f for f in stage.audit() if f[:3] == (severity, check, name)]
        assert len(found) == 1, name
        assert found[0].finding.startswith(said)


def test_a_terminal_gets_the_findings_and_then_their_number(
    server: Server, clone: str, tmp_path: Path
) -> None:
    psql = [shutil.which("psql") or str(find_programs() / "psql"), "-X"]
    command = [*psql, "-d", server.conninfo(clone), "-f", str(ROOT / "sql" / "audit.psql")]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    sound = run()
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "(0 rows)" in sound.stdout
    with server.connect(clone) as owner:
        owner.execute("alter table app.tasks disable row level security")
    holes = run()
    assert holes.returncode == 3
    assert "1 holes, 0 warnings: row_security app.tasks" in holes.stderr
    lines = holes.stdout.splitlines()
    assert max(map(len, lines)) <= 120
    assert any(line.split() == ["object", "|", "app.tasks"] for line in lines)
    assert any("alter table app.tasks enable row level security;" in line for line in lines)


def test_what_follows_from_one_cause_is_not_reported_again(stage: Stage) -> None:
    lower = "lower(nullif(current_setting('app.user_id', true), ''))"
    with stage.planted(
        "create or replace function app.current_user_id() returns text language sql stable parallel safe"
        f" return {lower}"
    ):
        assert [(f.severity, f.check_name) for f in stage.audit()] == [("hole", "identity_function")]


ONE_CAUSE = {
    "no row security, and no owner": (
        "create table app.comments (user_id text, body text); grant all on app.comments to tasks_api",
        ("row_security", "app.comments"),
    ),
    "the API owns a table": ("alter table app.tasks owner to tasks_api", ("role_ownership", "app.tasks")),
    "both columns of a share are written": (
        """create table app.shares (user_id text not null default app.current_user_id(),
             task_id bigint not null, owner text not null, primary key (user_id, owner, task_id));
           call attack.protect('app.shares', 'select, insert');
           create policy shared on app.tasks for select using (exists (select from app.shares s
            where (s.owner, s.task_id) = (tasks.user_id, tasks.id) and s.user_id = app.current_user_id()))""",
        ("membership", "app.shares.owner, app.shares.task_id"),
    ),
    "a foreign server that the API can log in at": (
        """create extension postgres_fdw; create server loop foreign data wrapper postgres_fdw;
           create user mapping for tasks_api server loop;
           create foreign table app.loop (user_id text) server loop; grant select on app.loop to tasks_api""",
        ("foreign_table", "app.loop"),
    ),
    "definers and views of a table without row security": (
        """create table app.comments (user_id text, body text); grant all on app.comments to tasks_api;
           create view app.bodies as select body from app.comments; grant select on app.bodies to tasks_api;
           create function app.said() returns setof text language sql security definer
             set search_path = pg_catalog as 'select body from app.comments';
           grant execute on function app.said() to tasks_api""",
        ("row_security", "app.comments"),
    ),
}


@pytest.mark.parametrize("cause", ONE_CAUSE)
def test_one_cause_is_one_hole(stage: Stage, cause: str) -> None:
    made, expected = ONE_CAUSE[cause]
    with stage.planted(made):
        assert [(f.check_name, f.object) for f in stage.audit() if f.severity != "hint"] == [expected]


def test_the_api_role_may_own_an_object_in_a_database_with_several_schemas(stage: Stage) -> None:
    with stage.planted("set local audit.preset = 'postgraphile'; alter table app.tasks owner to tasks_api"):
        findings = stage.audit()
    assert [(f.check_name, f.object) for f in findings if f.severity == "hole"] == [
        ("role_ownership", "app.tasks")
    ]


def test_the_remedy_of_a_policy_keeps_what_it_allows(stage: Stage) -> None:
    with stage.planted("alter policy update_own on app.tasks with check (true)"):
        [finding] = stage.audit()
        stage.run(finding.remedy)
        assert stage.audit() == []
        assert stage.serves()
