"""A metrics folder that cannot be used or contains other files only causes a warning."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Server, deployed, on_18
from support.faults import eventually

NAME = "PROMETHEUS_MULTIPROC_DIR"


def missing(folder: Path) -> Path:
    return folder / "missing"


def no_folder(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


def not_writable(_: Path) -> Path:
    return Path("/proc/self")


@on_18
@pytest.mark.long
@pytest.mark.parametrize(("kind", "processes"), [(missing, "1"), (no_folder, "2"), (not_writable, "1")])
def test_an_unusable_folder_is_a_warning_in_the_log(
    server: Server, database: str, tmp_path: Path, kind: Callable[[Path], Path], processes: str
) -> None:
    folder = kind(tmp_path)
    settings = {"METRICS": "true", "WEB_CONCURRENCY": processes, NAME: str(folder)}
    with deployed(server.conninfo(database, "tasks_api"), **settings) as api:
        answer = httpx.get(f"{api.url}/metrics", timeout=60)
        assert (answer.status_code, "tasks_requests_total" in answer.text) == (200, True)
        eventually(lambda: f"WARNING {NAME}: {folder}: " in api.log.read_text())


# Writes files like a version in which tasks_requests was a gauge and errors had no labels.
OTHER_VERSION = """
from prometheus_client import Counter, Gauge
Gauge("tasks_requests", "Of another version.", multiprocess_mode="all").set(7)
Counter("tasks_database_errors", "Of another version.").inc()
"""


@on_18
@pytest.mark.long
def test_other_files_are_ignored_and_logged(server: Server, database: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_VERSION]
    subprocess.run(command, env=os.environ | {NAME: str(tmp_path)}, check=True)
    litter = {
        "foreign.db": b"SQLite format 3\0" + bytes(4096),
        "counter_foreign.db": b"\x7f" * 4096,
        "gauge_livesum_foreign.db": b"",
        "notes.txt": b"",
    }
    for name, content in litter.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "histogram_1.db").mkdir()
    settings = {"METRICS": "true", NAME: str(tmp_path)}
    with deployed(server.conninfo(database, "tasks_api"), **settings) as api:
        for _ in range(2):
            answer = httpx.get(f"{api.url}/metrics", timeout=60)
            assert answer.status_code == 200
            assert re.search(r"^tasks_requests_total{.*} 0.0$", answer.text, re.MULTILINE)
        log = api.log.read_text()
        for name in ("counter_foreign.db", "histogram_1.db"):
            assert log.count(f"WARNING {NAME}: {tmp_path / name}: is not a file of these metrics") == 1
        for file in tmp_path.glob("*.db"):
            if file.is_file():
                file.unlink()
        answer = httpx.get(f"{api.url}/metrics", timeout=60)
        assert (answer.status_code, "tasks_requests_total" in answer.text) == (200, True)
        eventually(lambda: "the files of this process are gone" in api.log.read_text())
