"""The commands of app/api/README.md create a Next.js app, which is then used in Chromium."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
from conftest import ROOT, Server, deployed, free_port, on_18
from support.node import E2E, chromium, for_node, run

__all__ = ["chromium"]

pytestmark = on_18

NEXT = "16.4.3"  # of create-next-app; each brings the Next.js of its own version
FIRST_WITH_AUTH = 22  # of Node, that npx auth needs


def commands(server: Server, accounts: str, front: str, api: str, app: Path) -> str:
    """Return the commands of the page, with its gaps filled and the versions that are tested here."""
    block: str
    page = (ROOT / "app" / "api" / "README.md").read_text()
    [block] = re.findall(r"```sh\n(npx create-next-app.*?)```", page, re.DOTALL)
    wanted = json.loads((E2E / "package.json").read_text())["dependencies"]
    for said, meant in {
        "create-next-app@latest": f"--yes create-next-app@{NEXT}",
        "../tasks-app": str(app),
        "better-auth jose pg @types/pg": " ".join(
            f"{name}@{wanted[name]}" for name in ("better-auth", "jose", "pg", "@types/pg")
        ),
        "http://localhost:3000": front,
        "http://localhost:8000": api,
        "PGHOST=…": f"PGHOST={server.host}",
        "PGDATABASE=…": f"PGDATABASE={accounts}",
        "PGUSER=…": "PGUSER=postgres",
    }.items():
        assert said in block, said
        block = block.replace(said, meant)
    if int(run("node", "--version").lstrip("v").partition(".")[0]) < FIRST_WITH_AUTH:
        block = block.replace("npx auth@latest migrate --yes", f"(cd {E2E} && node {for_node('migrate.ts')})")
    return block


def test_a_fresh_app_with_these_files_signs_up_writes_and_reads_on_both_sides(
    server: Server, database: str, chromium: str, tmp_path: Path
) -> None:
    front, api = f"http://localhost:{free_port()}", f"http://localhost:{free_port()}"
    with server.database() as accounts, (tmp_path / "log").open("wb") as log:
        script = commands(server, accounts, front, api, tmp_path / "tasks-app")
        app = subprocess.Popen(
            ["bash", "-ec", script],
            cwd=ROOT,
            env=os.environ | {"PORT": front.rpartition(":")[2], "NEXT_TELEMETRY_DISABLED": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(f"{front}/api/auth/jwks", app, tmp_path / "log")
            with deployed(
                server.conninfo(database, "tasks_api"),
                PORT=api.rpartition(":")[2],
                JWT_JWKS_URL=f"{front}/api/auth/jwks",
                JWT_ISSUER=front,
                JWT_AUDIENCE=front,
                CORS_ORIGINS=front,
            ):
                seen = json.loads(
                    run("node", "next.mjs", FRONT=front, API=api, CHROMIUM=chromium, seconds=1200)
                )
        finally:
            os.killpg(
                app.pid, signal.SIGTERM
            )  # npm, Next.js and its workers, which are of this session alone
            app.wait(20)
    assert seen["errors"] == []
    assert seen["shown"] == "high · 2026-12-24 18:30 · family · phone · home"
    assert seen["browser"] == ["Buy milk", "Call Zoë"]
    assert seen["away"] == [
        ["The database is not available at the moment; try again", "Buy milk", "Call Zoë"],
        ["The service cannot be reached; try again", "Buy milk", "Call Zoë"],
    ]
    assert seen["server"] == ["Call Zoë"]  # what is pending
    assert seen["signed out"] == "/"


def wait_for(url: str, app: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 1800  # npm and the first compilation take their time
    while time.monotonic() < until:
        try:
            httpx.get(url, timeout=120).raise_for_status()
        except httpx.HTTPError:
            assert app.poll() is None, log.read_text()
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text())
