"""`check` finds everything that a start would refuse. Also the version and the usage."""

import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Server, free_port
from support.issuers import Issuer, as_jwk, issuing, new_key

from app import __version__
from app.__main__ import COMMANDS, main
from app.postgres.safety import SCHEMA_VERSION

Command = Callable[..., tuple[int, dict[str, str]]]
PASSWORD = "a-password-nobody-may-see"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer with one key."""
    with issuing() as running:
        yield running.add("a")


@pytest.fixture
def check(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    server: Server,
    database: str,
) -> Command:
    """Run `check` with these settings; return its exit status, and its lines by their first word."""
    monkeypatch.chdir(tmp_path)
    secret = secrets.token_hex(32)
    sound = {
        "DATABASE_URL": server.conninfo(database, "tasks_api"),
        "JWT_SECRET": secret,
        "PORT": str(free_port()),
    }

    def run(**settings: str) -> tuple[int, dict[str, str]]:
        for name, value in (sound | settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["app", "check"])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert secret not in said.out + said.err
        assert PASSWORD not in said.out + said.err
        lines = dict[str, str]()
        for line in said.out.splitlines():
            name, _, text = line.partition(": ")
            lines[name] = f"{lines[name]}\n{text}" if name in lines else text
        return int(end.value.code or 0), lines

    return run


def test_a_check_without_errors_prints_one_line_each(check: Command) -> None:
    status, lines = check(HOST="127.0.0.1")
    assert status == 0
    assert lines == {
        "settings": "ok",
        "address": f"ok, 127.0.0.1 port {os.environ['PORT']}",
        "database": f"ok, as tasks_api, migrated to {SCHEMA_VERSION} or later, row security active",
        "keys": "ok, JWT_SECRET for HS256",
    }


def test_wrong_settings_fail_the_check_and_all_are_named(check: Command) -> None:
    url = f"postgresql://u:{PASSWORD}@x@h/d"
    status, lines = check(PORT="http", CORS_ORIGINS="*", DATABASE_URL=url, MIGRATION_DATABASE_URL=url)
    assert status == 1
    assert sorted(re.findall("^[A-Z_]+", lines.pop("settings"), re.MULTILINE)) == [
        "CORS_ORIGINS",
        "DATABASE_URL",
        "MIGRATION_DATABASE_URL",
        "PORT",
    ]
    assert not lines


def test_a_doubtful_name_is_a_warning(check: Command) -> None:
    status, lines = check(JWT_AUDIANCE="x")
    assert (status, lines["settings"]) == (
        0,
        "warning: JWT_AUDIANCE is not a setting; did you mean JWT_AUDIENCE?\nok",
    )


def test_a_port_in_use_does_not_fail_the_check(check: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        status, lines = check(PORT=str(other.getsockname()[1]))
    assert status == 0
    assert lines["address"].endswith("which is in use by a program")


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])
def test_a_host_of_another_machine_fails_the_check(check: Command, host: str) -> None:
    status, lines = check(HOST=host)
    assert status == 1
    assert lines["address"].startswith(f"HOST: {host} ")
    assert lines["database"].startswith("ok")


def test_an_unavailable_database_fails_the_check_and_the_keys_are_still_checked(
    check: Command,
) -> None:
    url = f"postgresql://tasks_api:{PASSWORD}@127.0.0.1:{free_port()}/tasks"
    status, lines = check(DATABASE_URL=url)
    assert status == 1
    assert lines["database"].startswith("DATABASE_URL: connection failed")
    assert lines["keys"].startswith("ok")


def test_a_superuser_fails_the_check(check: Command, server: Server, database: str) -> None:
    status, lines = check(DATABASE_URL=server.conninfo(database))
    assert (status, "The role is postgres, not tasks_api" in lines["database"]) == (1, True)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("alter table app.tasks disable row level security", "Row security is not active"),
        ("revoke insert on app.idempotency_keys from tasks_api", "lacks privileges on app.idempotency_keys"),
        ("drop schema app cascade", "make migrate"),
        (
            "create policy any_user on app.tasks for select to tasks_api using (true)",
            "does not isolate users",
        ),
    ],
)
def test_a_database_that_is_unsafe_or_unready_fails_the_check(
    check: Command, server: Server, clone: str, broken: str, said: str
) -> None:
    with psycopg.connect(server.conninfo(clone), autocommit=True) as owner:
        owner.execute(broken.encode())
    status, lines = check(DATABASE_URL=server.conninfo(clone, "tasks_api"))
    assert status == 1
    assert said in lines["database"]


ENDS_ITSELF = """
create or replace function app.schema_version() returns integer language sql
begin atomic select pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())::integer; end
"""


def test_log_lines_of_the_pool_are_not_printed(
    check: Command, server: Server, clone: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(server.conninfo(clone), autocommit=True) as owner:
        owner.execute(ENDS_ITSELF)
    status, lines = check(DATABASE_URL=server.conninfo(clone, "tasks_api"))
    assert (status, lines["database"]) == (1, "DATABASE_URL: the connection is lost")
    assert "psycopg.pool" not in [record.name for record in caplog.records]


def test_the_keys_of_the_issuer_are_counted(check: Command, issuer: Issuer) -> None:
    issuer.add("b", "ES256").add("c", "RS256").add("d", "RS256", use="enc")
    status, lines = check(JWT_SECRET="", JWT_JWKS_URL=issuer.url)
    assert (status, lines["keys"]) == (0, "ok, 3 at JWT_JWKS_URL for ES256, EdDSA, RS256")
    status, lines = check(JWT_JWKS_URL=issuer.url)
    assert (status, lines["keys"]) == (
        0,
        "ok, JWT_SECRET for HS256; 3 at JWT_JWKS_URL for ES256, EdDSA, RS256",
    )


def test_an_issuer_without_usable_keys_fails_the_check(check: Command, issuer: Issuer) -> None:
    issuer.published = [as_jwk(new_key("EdDSA").public_key(), "EdDSA", kid="a", use="enc")]
    assert check(JWT_JWKS_URL=issuer.url)[1]["keys"] == "JWT_JWKS_URL: it has no usable key"
    issuer.break_down()
    status, lines = check(JWT_JWKS_URL=issuer.url)
    assert status == 1
    assert lines["keys"].startswith("JWT_JWKS_URL: the keys could not be fetched")


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_version_and_the_commands_are_printed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["app", *words])
    main()
    said = capsys.readouterr().out
    if words == ["--version"]:
        assert said == f"tasks-api {__version__}\n"
    else:
        assert re.findall(r"^  (\w+) +\w", said, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("words", [[], ["serve"], ["run", "now"], ["--port"]])
def test_unknown_arguments_print_the_usage(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app", *words])
    with pytest.raises(SystemExit, match=r"^usage: .*run.*check"):
        main()


def test_the_version_is_written_only_once() -> None:
    assert __version__ == "1.1.0"
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project
    assert json.dumps(__version__) not in project
