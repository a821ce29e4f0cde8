"""A wrong setting or an unsafe database ends the start in one line that says so, and no other way."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jwt
import pytest
from conftest import NO_TLS, ROOT, Api, Server, on_18, serving
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from support.contract import ask, assert_problem

from app import main

PASSWORD = "a-password-nobody-may-see"
SECRET = "0123456789abcdef" * 2
DATABASE = f"postgresql://tasks_api:{PASSWORD}@127.0.0.1:1/tasks"
MAIN = [sys.executable, "-c", "from app.server.run import serve; serve()"]  # without the embedded database
UVICORN = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]
SOUND = {"DATABASE_URL": DATABASE, "JWT_SECRET": SECRET}


# As uvicorn writes it, as app.log does, or none.
LEVEL = re.compile(r"(\d\S+ )?ERROR:? +")
INFO = re.compile(r"(\d\S+ )?INFO")


def start(folder: Path, command: list[str], settings: dict[str, str]) -> list[str]:
    """Start the API, which must refuse; return the lines in which it says why."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "PORT": "0"} | settings
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode not in (0, -9, -15)
    assert "Traceback" not in said
    for secret in (PASSWORD, SECRET, SECRET[:20]):
        assert secret not in said
    return [LEVEL.sub("", line) for line in said.splitlines() if not INFO.match(line)]


WRONG: dict[str, tuple[dict[str, str], set[str]]] = {
    "nothing is set": ({"DATABASE_URL": "", "JWT_SECRET": ""}, {"DATABASE_URL", "JWT_SECRET"}),
    "everything is wrong": (
        {
            "DATABASE_URL": f"postgresql://u:{PASSWORD}%zz@h/d",
            "JWT_SECRET": SECRET[:31],
            "PORT": "http",
            "POOL_SIZE": "0",
            "PREPARED_STATEMENTS": "maybe",
        },
        {"DATABASE_URL", "JWT_SECRET", "PORT", "POOL_SIZE", "PREPARED_STATEMENTS"},
    ),
    "the secret by its other name is short": (
        {"DATABASE_URL": f"mysql://root:{PASSWORD}@h/d", "JWT_SECRET": "", "BETTER_AUTH_SECRET": "x" * 31},
        {"DATABASE_URL", "JWT_SECRET"},  # its line names both
    ),
    "no connection string": (
        {"DATABASE_URL": f"host={PASSWORD} what", "PORT": "65536"},
        {"DATABASE_URL", "PORT"},
    ),
    "the database is away": ({}, {"DATABASE_URL"}),
}


@pytest.mark.parametrize(
    ("command", "kind"), [*((MAIN, kind) for kind in WRONG), *((UVICORN, kind) for kind in list(WRONG)[::4])]
)
def test_a_wrong_setting_ends_the_start_in_one_line_naming_it(
    tmp_path: Path, command: list[str], kind: str
) -> None:
    settings, names = WRONG[kind]
    lines = start(tmp_path, command, SOUND | settings)
    if lines[-1].startswith("Application startup failed"):
        lines.pop()
    assert {line.partition(":")[0] for line in lines} == names
    assert len(lines) == len(names)


def test_a_superuser_is_refused(server: Server, database: str, tmp_path: Path) -> None:
    settings = SOUND | {"DATABASE_URL": server.conninfo(database)}
    lines = start(tmp_path, MAIN, settings)
    assert "The role postgres is not tasks_api" in lines[0]
    assert "DATABASE_URL" in lines[0]


def test_a_database_without_migrations_is_refused(server: Server, tmp_path: Path) -> None:
    with server.database() as empty:
        lines = start(tmp_path, MAIN, SOUND | {"DATABASE_URL": server.conninfo(empty, "tasks_api")})
    assert "make migrate" in lines[0]


def test_a_database_without_row_security_is_refused(server: Server, clone: str, tmp_path: Path) -> None:
    with server.connect(clone) as connection:
        connection.execute("alter table app.tasks disable row level security")
    lines = start(tmp_path, MAIN, SOUND | {"DATABASE_URL": server.conninfo(clone, "tasks_api")})
    assert "Row security is not active for tasks_api on app.tasks" in lines[0]


def status(api: Api, user: str = "alice", **claims: object) -> int:
    payload = {"sub": "alice", "exp": int(time.time()) + 600} | claims
    # PyJWT itself would make none with an issuer that is no text
    token = jwt.PyJWS().encode(json.dumps(payload).encode(), api.secret, "HS256")
    answer = ask(api, "GET", f"/api/{user}/tasks", token=token)
    if answer.status_code == 401:
        assert_problem(answer, 401, "token")
    return answer.status_code


def test_a_deploy_names_audience_issuer_claim_secret_and_origins(server: Server, database: str) -> None:
    own = secrets.token_hex(32)
    settings = {
        "JWT_SECRET": "",
        "BETTER_AUTH_SECRET": own,
        "JWT_AUDIENCE": "tasks, others",
        "JWT_ISSUER": "https://issuer.example",
        "JWT_USER_CLAIM": "用户",
        "CORS_ORIGINS": "https://a.example, https://b.example",
    }
    with serving(server.conninfo(database, "tasks_api"), **settings) as running:
        api = Api(running.url, own, running.process, running.log)
        right = {"aud": "tasks", "iss": "https://issuer.example", "用户": "carol"}
        assert status(api, "carol", **right) == 200
        assert status(api, "carol", **right | {"aud": ["others", "x"]}) == 200
        assert status(api, "alice", **right) == 403
        audiences: list[object] = ["elsewhere", ["x"], "", None, 1, {}, "Tasks"]
        issuers: list[object] = ["https://elsewhere.example", "", None, 1, ["https://issuer.example"], {}]
        for audience in audiences:
            assert status(api, "carol", **right | {"aud": audience}) == 401
        for issuer in issuers:
            assert status(api, "carol", **right | {"iss": issuer}) == 401
        for missing in ("aud", "iss", "用户"):
            assert status(api, "carol", **{k: v for k, v in right.items() if k != missing}) == 401
        assert ask(api, "GET", "/api/carol/tasks", token=running.token("alice", **right)).status_code == 401
        origins = ("https://a.example", "https://b.example", "http://localhost:3000")
        assert [
            "access-control-allow-origin" in ask(api, "GET", "/health", headers=[("Origin", origin)]).headers
            for origin in origins
        ] == [True, True, False]


def test_prepared_statements_can_be_done_without(server: Server, database: str) -> None:
    with serving(server.conninfo(database, "tasks_api"), PREPARED_STATEMENTS="false", POOL_SIZE="1") as api:
        token = api.token(f"unprepared-{secrets.token_hex(4)}")
        user = jwt.decode(token, options={"verify_signature": False})["sub"]
        for number in range(1, 5):
            made = ask(api, "POST", f"/api/{user}/tasks", token=token, body=b'{"title": "x"}')
            assert made.json()["id"] == number
        url = f"{api.url}/api/{user}/tasks"
        listed = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, verify=NO_TLS)
        assert len(listed.json()) == 4


def test_middleware_that_is_added_runs_within_our_headers() -> None:
    class Teapot:
        def __init__(self, app: ASGIApp, status: int) -> None:
            self.app, self.status = app, status

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await Response(status_code=self.status)(scope, receive, send)

    app = main.API()
    app.add_middleware(Teapot, status=418)

    async def served() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tasks") as client:
            return await client.get("/")

    answer = asyncio.run(served())
    assert answer.status_code == 418
    assert "x-request-id" in answer.headers


@on_18
def test_any_asgi_server_may_serve_it(server: Server, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ours tells when a client leaves."""
    monkeypatch.setenv("DATABASE_URL", server.conninfo(database, "tasks_api"))
    monkeypatch.setenv("JWT_SECRET", SECRET)
    token = jwt.encode({"sub": "walter", "exp": time.time() + 60}, SECRET, "HS256")

    async def served() -> httpx.Response:
        async with main.lifespan(main.app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await main.app({**scope, "state": dict(state)}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://tasks") as client:
                return await client.get("/api/walter/tasks", headers={"Authorization": f"Bearer {token}"})

    answer = asyncio.run(served())
    assert (answer.status_code, answer.json()) == (200, [])
