"""What app/server/deploy has to copy is taken by the programs that it is for, as far as they are here."""

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

DEPLOY = ROOT / "app" / "server" / "deploy"


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or pytest.skip(
        f"{name.upper()} IS NOT INSTALLED: what it would say of {DEPLOY} WAS NOT TRIED"
    )


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
    unit = tmp_path / "tasks.service"
    text = (DEPLOY / "tasks.service").read_text()
    (tmp_path / "python").symlink_to(sys.executable)
    unit.write_text(text.replace("/opt/tasks/.venv/bin/python", str(tmp_path / "python")))
    assert "tasks.service" not in say(analyze, "verify", "--man=no", unit)
    (exposure,) = re.findall(
        r"exposure level for tasks\.service: ([0-9.]+)", say(analyze, "security", "--offline=true", unit)
    )
    assert float(exposure) < 2


def test_prometheus_takes_the_alert_rules() -> None:
    say(program("promtool"), "check", "rules", DEPLOY / "alerts.yaml")


@on_18
def test_alerts_and_dashboard_ask_for_series_that_are_there(watched: Api) -> None:
    series = set(
        re.findall(r"^(tasks_\w+)", httpx.get(f"{watched.url}/metrics", timeout=60).text, re.MULTILINE)
    )
    rules = YAML(typ="safe").load(DEPLOY / "alerts.yaml")["groups"][0]["rules"]
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for rule in rules] + [t["expr"] for panel in panels for t in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"tasks_\w+", expression)}
    assert len(names) > 5
    assert names <= series


@on_18
def test_the_probes_are_answered(watched: Api) -> None:
    deployment = YAML(typ="safe").load(DEPLOY / "kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    assert probes == ["/health", "/health", "/ready"]
    for path in probes:
        assert httpx.get(f"{watched.url}{path}", timeout=60).status_code == 200


@on_18
def test_nginx_hands_on_what_the_contract_needs(watched: Api, tmp_path: Path) -> None:
    nginx, port = program("nginx"), free_port()
    block = (DEPLOY / "nginx.conf").read_text()
    block = block.replace("listen 8080", f"listen 127.0.0.1:{port}")
    block = block.replace("server 127.0.0.1:8000", f"server {watched.url.removeprefix('http://')}")
    here = "".join(
        f"{name}_temp_path {tmp_path};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"daemon off; user root; pid {tmp_path}/pid; error_log {tmp_path}/error; events {{}}"
        f"http {{ gzip on; gzip_types application/json; gzip_min_length 1; access_log off; {here} {block} }}"
    )
    say(nginx, "-t", "-c", configuration)
    with running(nginx, "-c", configuration):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/health"))
        headers = {"Authorization": f"Bearer {watched.token('through/nginx')}"}
        made = httpx.post(
            f"{url}/api/through%2Fnginx/tasks", headers=headers, json={"title": "x"}, timeout=60
        )
        assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
        task = f"{url}{made.headers['Location']}"
        change = httpx.patch(
            task, headers=headers | {"If-Match": '"1"'}, json={"completed": True}, timeout=60
        )
        assert (change.status_code, change.headers["ETag"]) == (200, '"2"')
        upgrade = headers | {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert httpx.get(task, headers=upgrade, timeout=60).status_code == 200
        assert httpx.get(f"{url}/metrics", timeout=60).status_code == 404


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False


def test_pgbouncer_takes_its_settings() -> None:
    """Whether the API works through one is tried in test_faults."""
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
    if "PgBouncer 1.1" in say(pgbouncer, "--version"):  # Debian 12's: 1.18
        text = text.replace("max_prepared_statements", ";")
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
