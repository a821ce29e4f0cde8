"""Runs the steps of the Containerfile without a container engine: locked packages, read-only folders."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import httpx
from conftest import ROOT, Server, free_port, on_18
from support.faults import eventually

CONTAINERFILE = ROOT / "app" / "server" / "deploy" / "Containerfile"

pytestmark = on_18


def test_the_runtime_packages_alone_migrate_audit_prove_and_run(server: Server) -> None:
    steps = CONTAINERFILE.read_text()
    install = "uv pip install --no-cache -r /build/pyproject.toml -c /build/requirements.txt"
    assert install in steps
    copied = re.findall(r"^COPY (app|sql) /srv/\1$", steps, re.MULTILINE)
    assert copied == ["app", "sql"]

    image = Path(mkdtemp(prefix="image"))
    image.chmod(0o755)
    try:
        uv = (sys.executable, "-m", "uv")
        subprocess.run([*uv, "venv", "--quiet", image / "venv"], check=True)
        python = str(image / "venv/bin/python")
        command = install.replace("/build", str(ROOT)).replace("--no-cache ", "").split()
        subprocess.run([sys.executable, "-m", *command, "--quiet", "--python", python], check=True)
        for name in copied:
            shutil.copytree(ROOT / name, image / name, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a-w", image / "app", image / "sql", image / "venv"], check=True)
        with server.database() as name:
            serve_from(image, python, server, name)
    finally:
        subprocess.run(["chmod", "-R", "u+w", image], check=True)
        shutil.rmtree(image)


def serve_from(image: Path, python: str, server: Server, name: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "JWT_SECRET": "x" * 32}
    owner = environment | {"MIGRATION_DATABASE_URL": server.conninfo(name)}
    for step in ("migrate", "audit", "prove"):
        done = subprocess.run(
            [python, "-m", "app", step], cwd=image, env=owner, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with server.connect(name) as connection:
        connection.execute("alter role tasks_api login")
    url = f"http://127.0.0.1:{(port := free_port())}"
    reachable = environment | {"DATABASE_URL": server.conninfo(name, "tasks_api"), "PORT": str(port)}
    process = subprocess.Popen([python, "-m", "app", "run"], cwd=image, env=reachable)
    try:
        eventually(lambda: is_ready(url), seconds=30)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False
