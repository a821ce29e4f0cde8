"""The embedded PostgreSQL: killed processes, concurrent first runs, stale files, file permissions."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest
from conftest import ROOT
from embedded import database, programs
from embedded.cluster import SOCKET, Cluster
from embedded.programs import NAME, account, find_programs
from support.faults import eventually

pytestmark = pytest.mark.long
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user, or mount")
USE = """
import sys
from pathlib import Path
from embedded import database, programs

database.HOME = Path(sys.argv[1])
with database.embedded():
    print("ready", flush=True)
    sys.stdin.read()
"""


def begin(home: Path, *wrapper: str) -> subprocess.Popen[str]:
    """Start a process that uses the server until its input ends."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", USE, home],
        env=environment | {"PYTHONPATH": f"{ROOT}/tests:{ROOT}"},
        cwd=home.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "ready\n", process.stderr.read()


@contextmanager
def using(home: Path) -> Iterator[subprocess.Popen[str]]:
    with begin(home) as process:
        await_ready(process)
        yield process
        process.communicate(timeout=300)


def postmaster(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().splitlines()[0])


def answer(folder: str) -> object:
    with psycopg.connect(host=folder, user="postgres", dbname="postgres") as connection:
        return connection.execute("show data_directory").fetchall()[0][0]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster after initdb, in a folder whose path has a space."""
    with TemporaryDirectory(prefix="tasks ", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder) / ".postgres", find_programs())
        with cluster.running():
            pass
        yield cluster


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster that has not been created."""
    with TemporaryDirectory(prefix="tasks ", ignore_cleanup_errors=True) as folder:
        yield Cluster(Path(folder) / ".postgres", find_programs())


def test_interrupted_first_runs_do_not_break_the_next(fresh: Cluster) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with begin(fresh.home) as process:
            eventually(lambda: any(fresh.home.glob("new-*/data/base")), 60)
            process.send_signal(number)
        assert not fresh.data.exists()

    def cleaned() -> bool:
        with fresh.running() as folder:
            assert answer(folder) == str(fresh.data)
        return not list(fresh.home.glob("new-*"))

    eventually(cleaned, 60)


def test_a_process_with_the_pid_of_a_dead_server_is_not_terminated(cluster: Cluster) -> None:
    stranger = subprocess.Popen(["sleep", "600"], user=NAME if os.geteuid() == 0 else None)
    try:
        for name in ("postmaster.pid", f"{SOCKET}.lock"):
            lines = [stranger.pid, cluster.data, 1, 5432, cluster.data, "", "  1  1", "ready"]
            (cluster.data / name).write_text("\n".join(map(str, lines)) + "\n")
        (cluster.data / ".handle_pids.json").write_text("[12, ")  # incomplete, of an earlier version
        with cluster.running() as folder:
            assert postmaster(cluster) != stranger.pid
            assert answer(folder) == str(cluster.data)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_server_stops_with_its_last_user_even_if_another_was_killed(cluster: Cluster) -> None:
    with using(cluster.home) as last:
        server = psutil.Process(postmaster(cluster))
        with using(cluster.home) as killed, using(cluster.home):
            killed.kill()
        assert server.is_running()
        assert postmaster(cluster) == server.pid
        assert last.poll() is None
    assert not server.is_running()


def test_a_server_whose_users_were_all_killed_is_used_and_stopped(cluster: Cluster) -> None:
    with using(cluster.home) as only:
        server = psutil.Process(postmaster(cluster))
        only.kill()
    assert server.is_running()
    with cluster.running():
        assert postmaster(cluster) == server.pid
    assert not server.is_running()


def test_two_concurrent_first_runs_work(fresh: Cluster) -> None:
    with begin(fresh.home) as one, begin(fresh.home) as other:
        for process in (one, other):
            await_ready(process)
        server = psutil.Process(postmaster(fresh))
        said = [process.communicate(timeout=300)[1] for process in (one, other)]
    assert sum("Setting up" in text for text in said) == 1
    assert not server.is_running()


def test_no_other_user_can_connect_even_if_the_path_is_long(cluster: Cluster, tmp_path: Path) -> None:
    long = Cluster(tmp_path / ("long " * 20) / ".postgres", cluster.programs)
    long.home.mkdir(parents=True)
    shutil.move(cluster.data, long.data)
    try:
        with long.running() as folder:
            assert answer(folder) == str(long.data)
            assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
            assert stat.S_IMODE(Path(folder, SOCKET).stat().st_mode) == 0o700
            assert Path(folder) != long.data
            if os.geteuid() == 0:
                refused = subprocess.run(
                    [str(cluster.programs / "psql"), "-h", folder, "-U", "postgres", "-c", "select 1"],
                    user="nobody",
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert "Permission denied" in refused.stderr
        assert not Path(folder).exists()
    finally:
        shutil.move(long.data, cluster.data)


@ROOT_ONLY
def test_parent_folders_become_executable_but_not_readable(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = tmp_path / "private"
    above.mkdir(mode=0o700)
    account(above / "data", cluster.programs)
    assert stat.S_IMODE(above.stat().st_mode) == 0o701
    assert f"chmod o+x {above}" in capsys.readouterr().err


@ROOT_ONLY
def test_only_one_process_at_a_time_adds_the_system_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "NAME", "nobody_has_this_name")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    useradd = tmp_path / "useradd"
    useradd.write_text(f"""#!/bin/sh
mkdir {tmp_path}/running || exec touch {tmp_path}/overlap
echo ran >>{tmp_path}/log
sleep 0.2
rmdir {tmp_path}/running
""")
    useradd.chmod(0o755)
    with ThreadPoolExecutor(3) as pool:
        for called in [pool.submit(account, tmp_path / "data", find_programs()) for _ in range(3)]:
            with pytest.raises(SystemExit, match="add one named nobody_has_this_name"):
                called.result()
    assert (tmp_path / "log").read_text() == "ran\n" * 3
    assert not (tmp_path / "overlap").exists()


@ROOT_ONLY
def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=8m tmpfs "$0" || exit 75; cd "$0"; exec "$@"'
    with begin(tmp_path / ".postgres", "unshare", "--mount", "sh", "-c", script, str(tmp_path)) as process:
        _, said = process.communicate(timeout=300)
    if process.returncode == 75:
        pytest.skip("not even root may mount on this machine")
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "No space left on device" in said.splitlines()[-1]


def test_an_empty_secret_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(database, "HOME", tmp_path)
    monkeypatch.setenv("JWT_SECRET", "")
    (tmp_path / "secret").touch(mode=0o600)
    database.ensure_secret()
    kept = os.environ["JWT_SECRET"]
    assert len(kept) == 64
    monkeypatch.setenv("JWT_SECRET", "")
    database.ensure_secret()
    assert os.environ["JWT_SECRET"] == kept
