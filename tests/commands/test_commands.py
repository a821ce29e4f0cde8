"""The commands of the Makefile, in a checkout of their own."""

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


def copy_code(folder: Path) -> Path:
    for part in ("app", "sql"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """Copy the code to a folder of a short name, as a fresh clone is."""
    folder = Path(tempfile.mkdtemp(prefix="tasks"))
    yield copy_code(folder)
    shutil.rmtree(folder)


def command(
    checkout: Path, *words: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=checkout,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def running(checkout: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `make run` up to where it serves; yield the process and what it printed."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "run"],
        cwd=checkout,
        env=environment | {"PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = ""
    assert process.stdout
    while "Uvicorn running" not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line
    try:
        yield process, printed
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def postgres_runs(checkout: Path) -> bool:
    return (checkout / ".postgres" / "data" / "postmaster.pid").exists()


def test_run_serves_shows_a_curl_that_works_and_leaves_nothing_running(checkout: Path) -> None:
    port = free_port()
    for started in (1, 2):
        with running(checkout, port) as (_, printed):
            token = re.search(r"Bearer (\S+)'", printed)
            assert token
            assert f"http://127.0.0.1:{port}/api/alice/tasks" in printed
            assert postgres_runs(checkout)
            with httpx.Client(headers={"Authorization": f"Bearer {token[1]}"}) as client:
                url = f"http://127.0.0.1:{port}/api/alice/tasks"
                assert client.post(url, json={"title": "Buy milk"}).status_code == 201
                assert len(client.get(url).json()) == started
                assert client.get(url, params={"search": "BUY"}).json()
        assert not postgres_runs(checkout)


def test_a_token_opens_the_running_api_and_nothing_else_is_printed(checkout: Path) -> None:
    port = free_port()
    with running(checkout, port):
        printed = command(checkout, "token", AS="bob smith/ü")
        answer = httpx.get(
            f"http://127.0.0.1:{port}/api/bob%20smith%2F%C3%BC/tasks",
            headers={"Authorization": f"Bearer {printed.stdout.strip()}"},
        )
        assert answer.json() == []
        assert printed.stderr == ""
        made = command(checkout, "psql", stdin="select app.next_task_id();", AS="bob smith/ü")
        assert made.returncode == 0, made.stderr
    assert not postgres_runs(checkout)


def test_psql_is_that_user_and_only_that_user(checkout: Path) -> None:
    commands = "select current_user, app.current_user_id();\ninsert into app.tasks (title) values ('Mine');\n"
    for user in ("o'brien \\ %n x", "carol"):
        printed = command(checkout, "psql", stdin=commands + "select user_id from app.tasks;", AS=user)
        assert "tasks_api" in printed.stdout
        assert [line for line in printed.stdout.splitlines() if line.strip() == user] == [" " + user]


@pytest.mark.parametrize("name", ["token", "psql"])
def test_a_command_for_somebody_asks_whom(checkout: Path, name: str) -> None:
    answer = command(checkout, name)
    assert answer.returncode != 0
    assert f"make {name} AS=alice" in answer.stderr


def test_migrations_can_be_listed_undone_and_applied_on_the_embedded_database(checkout: Path) -> None:
    assert command(checkout, "migrate").returncode == 0
    assert command(checkout, "rollback").stdout.startswith("rolled back 000")
    assert "pending" in command(checkout, "migrations").stdout
    assert command(checkout, "migrate").stdout.startswith("applied 000")
    assert "pending" not in command(checkout, "migrations").stdout


def test_a_deploy_that_names_no_database_fails(tmp_path: Path) -> None:
    fresh = copy_code(tmp_path)
    for name in ("migrate", "rollback", "migrations"):
        answer = command(fresh, name)
        assert answer.returncode != 0
        assert "MIGRATION_DATABASE_URL: is missing" in answer.stderr
    answer = command(fresh, "migrate", DATABASE_URL="postgresql://tasks_api@127.0.0.1/tasks")
    assert "MIGRATION_DATABASE_URL: is missing" in answer.stderr
    assert not (fresh / ".postgres").exists()


def test_no_password_is_printed(checkout: Path) -> None:
    address = f"postgresql://owner:hushhush@127.0.0.1:{free_port()}/tasks"
    for name in ("migrate", "psql"):
        answer = command(checkout, name, AS="alice", MIGRATION_DATABASE_URL=address, DATABASE_URL=address)
        assert answer.returncode != 0
        assert "hushhush" not in answer.stdout + answer.stderr


def test_bare_make_lists_every_target() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z0-9]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert re.findall(r"^make (\S+)", printed, re.MULTILINE) == targets
