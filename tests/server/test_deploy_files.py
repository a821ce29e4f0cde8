"""The files of app/server/deploy are accepted by their programs. Tests without the program are skipped."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from conftest import ROOT, Api, Server, free_port, on_18, serving
from ruamel.yaml import YAML
from support.faults import NOBODY, connects, eventually
from support.proxies import DEPLOY, program


def say(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def running(*command: str | Path, user: str | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def watched(server: Server, database: str) -> Iterator[Api]:
    """An API with metrics."""
    with serving(server.conninfo(database, "tasks_api"), METRICS="true") as api:
        yield api


def test_the_systemd_unit_is_sound_and_hardened(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    unit = tmp_path / "tasks@8000.service"  # the name of an instance of the template
    text = (DEPLOY / "tasks@.service").read_text()
    (tmp_path / "python").symlink_to(sys.executable)
    for program_there in ("/opt/tasks/.venv/bin/python", "/usr/bin/curl"):
        text = text.replace(program_there, str(tmp_path / "python"))
    unit.write_text(text)
    assert "tasks@" not in say(analyze, "verify", "--man=no", unit)
    (exposure,) = re.findall(
        r"exposure level for tasks@8000\.service: ([0-9.]+)", say(analyze, "security", "--offline=true", unit)
    )
    assert float(exposure) < 2


# The settings of an operator who has copied .env.example.
EXAMPLE = dict(re.findall("^([A-Z_]+)=(.*)", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_port_of_a_systemd_instance_overrides_the_settings() -> None:
    """Systemd lets EnvironmentFile override Environment."""
    text = (DEPLOY / "tasks@.service").read_text()
    (start,) = re.findall("^ExecStart=(.*)/opt/tasks/.venv/bin/python -m app run$", text, re.MULTILINE)
    command = [
        *start.replace("%i", "8001").split(),
        sys.executable,
        "-c",
        "import os; print(os.environ['PORT'])",
    ]
    assert subprocess.check_output(command, env=EXAMPLE, text=True) == "8001\n"


@on_18
def test_the_systemd_unit_waits_until_the_process_is_ready(watched: Api) -> None:
    text = (DEPLOY / "tasks@.service").read_text()
    (command,) = re.findall("^ExecStartPost=/usr/bin/curl (.*)", text, re.MULTILINE)
    say(program("curl"), *command.replace("%i", watched.url.rpartition(":")[2]).split())


def test_prometheus_accepts_the_alert_rules() -> None:
    say(program("promtool"), "check", "rules", DEPLOY / "alerts.yaml")


@on_18
def test_alerts_and_dashboard_use_only_existing_series(watched: Api) -> None:
    metrics = httpx.get(f"{watched.url}/metrics", timeout=60).text
    series = set(re.findall(r"^(tasks_\w+)", metrics, re.MULTILINE))
    rules = YAML(typ="safe").load(DEPLOY / "alerts.yaml")["groups"][0]["rules"]
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for rule in rules] + [t["expr"] for panel in panels for t in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"tasks_\w+", expression)}
    assert len(names) > 5
    assert names <= series
    labels = {label for expression in asked for label in re.findall(r'\w+="[^"]*"', expression)}
    assert {label for label in labels - {'job="tasks"'} if label not in metrics} == set()


@on_18
def test_the_probes_of_kubernetes_succeed(watched: Api) -> None:
    deployment = YAML(typ="safe").load(DEPLOY / "kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    assert probes == ["/health", "/health", "/ready"]
    for path in probes:
        assert httpx.get(f"{watched.url}{path}", timeout=60).status_code == 200


def test_a_container_listens_on_its_port_whatever_the_settings() -> None:
    """In both files, single variables override those of a file or secret."""
    deployment = YAML(typ="safe").load(DEPLOY / "kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    in_pod = EXAMPLE | {each["name"]: each["value"] for each in container["env"]}
    assert (in_pod["HOST"], in_pod["PORT"]) == ("0.0.0.0", str(container["ports"][0]["containerPort"]))
    (command,) = re.findall(
        r"^# (podman run (?:.*\\\n#)*.* tasks)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE
    )
    in_container = EXAMPLE | dict(re.findall(r"--env=([A-Z_]+)=(\S+)", command))
    assert (in_container["HOST"], in_container["PORT"]) == ("0.0.0.0", "8000")


def test_pgbouncer_accepts_its_settings() -> None:
    """test_faults.py tests the API behind PgBouncer."""
    pgbouncer, port = program("pgbouncer"), free_port()
    folder = Path(tempfile.mkdtemp(prefix="pooler"))
    text = (DEPLOY / "pgbouncer.ini").read_text()
    for given, here in {
        "listen_port = 6432": f"listen_port = {port}\nunix_socket_dir =\nadmin_users = owner",
        "auth_type = scram-sha-256": "auth_type = trust",
        "/etc/pgbouncer/userlist.txt": f"{folder}/users",
    }.items():
        assert given in text
        text = text.replace(given, here)
    (folder / "users").write_text('"owner" ""\n')
    (folder / "ini").write_text(text)
    shutil.chown(folder, NOBODY or os.geteuid())
    try:
        with running(pgbouncer, folder / "ini", user=NOBODY):
            address = f"host=127.0.0.1 port={port} dbname=pgbouncer user=owner"
            eventually(lambda: connects(address))
            with psycopg.connect(address, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
                config = {str(row[0]): row[1] for row in console.execute("show config")}
    finally:
        shutil.rmtree(folder)
    assert (config["server_login_retry"], config["pool_mode"]) == ("1", "transaction")
