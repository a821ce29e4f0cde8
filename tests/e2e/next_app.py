"""The README's five minutes: a fresh Next.js app with the files of next/, built and used in Chromium."""

import json
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
from conftest import Server, deployed, free_port, on_18
from support.node import E2E, chromium, for_node, run

__all__ = ["chromium"]

pytestmark = on_18

VERSION = "16.4.3"  # of create-next-app; each brings the Next.js of its own version
OPTIONS = ("--ts", "--app", "--empty", "--no-tailwind", "--no-eslint", "--no-src-dir", "--use-npm", "--yes")


def test_a_fresh_app_with_these_files_signs_up_writes_and_reads_on_both_sides(
    server: Server, database: str, chromium: str, tmp_path: Path
) -> None:
    front, port = f"http://localhost:{free_port()}", str(free_port())
    app = tmp_path / "app"
    with server.database() as accounts:
        settings: dict[str, Any] = {
            "BETTER_AUTH_URL": front,
            "BETTER_AUTH_SECRET": secrets.token_hex(32),
            "NEXT_PUBLIC_API_URL": f"http://localhost:{port}",
            "NEXT_TELEMETRY_DISABLED": "1",
            "PGHOST": server.host,
            "PGDATABASE": accounts,
            "PGUSER": "postgres",
        }
        create = ("npx", "--yes", f"create-next-app@{VERSION}", "app", *OPTIONS, "--import-alias=@/*")
        run(*create, "--disable-git", "--skip-install", within=tmp_path, seconds=300)
        wanted = json.loads((E2E / "package.json").read_text())["dependencies"]
        packages = [f"{name}@{wanted[name]}" for name in ("better-auth", "jose", "pg", "@types/pg")]
        run("npm", "install", "--no-audit", "--no-fund", *packages, within=app, seconds=600)
        shutil.copytree(E2E / "next", app, dirs_exist_ok=True)
        run("node", for_node("migrate.ts"), **settings)
        run("npx", "next", "build", within=app, seconds=900, **settings)
        next_server = subprocess.Popen(
            ["node", app / "node_modules/next/dist/bin/next", "start", "--port", front.rpartition(":")[2]],
            cwd=app,
            env=os.environ | settings,
        )
        try:
            wait_for(f"{front}/api/auth/jwks")
            with deployed(
                server.conninfo(database, "tasks_api"),
                PORT=port,
                JWT_JWKS_URL=f"{front}/api/auth/jwks",
                JWT_ISSUER=front,
                JWT_AUDIENCE=front,
                CORS_ORIGINS=front,
            ):
                seen = json.loads(run("node", "next.mjs", FRONT=front, CHROMIUM=chromium))
        finally:
            next_server.terminate()
            next_server.wait(20)
    assert seen["errors"] == []
    assert seen["browser"] == ["Buy milk", "Call Zoë"]
    assert seen["server"] == ["Call Zoë"]  # what is pending
    assert seen["signed out"] == "/"


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(url, timeout=20).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(url)
