"""The previous release works on the new schema, since a deploy migrates before it replaces the code."""

import io
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Server, deployed, on_18

from app.commands import migrations


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The code of the commit before the newest migration was added."""
    newest = git(
        *("log", "--first-parent", "-m", "--diff-filter=A", "--format=%H", "-1"),
        *("--", f"sql/migrations/{max(file.name for file in ROOT.glob('sql/migrations/*.sql'))}"),
    )
    archive = git("archive", "--format=zip", f"{newest.decode().strip()}^1", "app", "sql") if newest else b""
    if not archive:
        pytest.skip("THE PREVIOUS RELEASE WAS NOT TRIED on the newest schema: this clone has not its commit")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(tmp_path)
    assert len(list(tmp_path.glob("sql/migrations/*"))) < len(list(ROOT.glob("sql/migrations/*")))
    return tmp_path


@on_18
@pytest.mark.long
def test_the_previous_release_works_during_and_after_the_migration(server: Server, previous: Path) -> None:
    with server.database() as name:
        owner = server.conninfo(name)
        subprocess.run(
            [sys.executable, "-m", "app", "migrate"],
            cwd=previous,
            env=os.environ | {"MIGRATION_DATABASE_URL": owner},
            check=True,
        )
        with server.connect("postgres") as connection:
            connection.execute("alter role tasks_api login")
            for limit in ("lock_timeout", "statement_timeout"):  # a busy machine may take longer to migrate
                connection.execute(f"alter role tasks_api in database {name} set {limit} = '60s'")
        with (
            deployed(server.conninfo(name, "tasks_api"), PYTHONPATH=str(previous)) as api,
            ThreadPoolExecutor(4) as clients,
        ):
            url = f"{api.url}/api/alice/tasks"
            stop: list[bool] = []
            headers = {"Authorization": f"Bearer {api.token('alice')}"}

            def use() -> list[int]:
                statuses: list[int] = []
                while not stop or len(statuses) % 5:
                    with httpx.Client(headers=headers, timeout=60) as client:
                        made = client.post(url, json={"title": "x"})
                        task = f"{api.url}{made.headers.get('Location', '')}"
                        answers = [
                            made,
                            client.get(url, params={"limit": 5}),
                            client.put(task, json={"description": "y"}),
                            client.patch(f"{task}/complete"),
                            client.delete(task),
                        ]
                    statuses += [answer.status_code for answer in answers]
                return statuses

            running = [clients.submit(use) for _ in range(4)]
            migrations.migrate(owner)
            assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 200
            stop.append(True)
            seen = [status for future in running for status in future.result()]
    assert len(seen) >= 20
    assert set(seen) == {201, 200, 204}
