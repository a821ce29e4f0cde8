"""A wrong setting or an unsafe database ends the start in one line that says so, and no other way."""

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest
from conftest import ROOT, Api, Server, serving
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from support.contract import ask, assert_problem
from support.starts import refusal, served

from app import main
from app.server.run import serve
from app.settings import MigrationSettings, Settings, load

Settle = Callable[..., None]
PASSWORD = "a-password-nobody-may-see"
SECRET = "0123456789abcdef" * 2
DATABASE = f"postgresql://tasks_api:{PASSWORD}@127.0.0.1:1/tasks"
MAIN = [sys.executable, "-m", "app", "run"]
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
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode not in (0, -9, -15)
    assert "Traceback" not in said
    for secret in (PASSWORD, SECRET, SECRET[:20]):
        assert secret not in said
    return [LEVEL.sub("", line) for line in said.splitlines() if not INFO.match(line)]


def refused() -> str:
    """Load the settings, which must be refused in one line."""
    with pytest.raises(SystemExit) as refusal:
        load(Settings)
    said = str(refusal.value)
    assert "\n" not in said
    return said


WRONG: dict[str, tuple[dict[str, str], set[str]]] = {
    "nothing is set": ({"DATABASE_URL": "", "JWT_SECRET": ""}, {"DATABASE_URL", "JWT_SECRET"}),
    "everything is wrong": (
        {
            "DATABASE_URL": f"postgresql://u:{PASSWORD}%zz@h/d",
            "JWT_SECRET": SECRET[:31],
            "PORT": "http",
            "POOL_SIZE": "0",
            "PREPARED_STATEMENTS": "maybe",
            "WEB_CONCURRENCY": "many",
            "LOG_FORMAT": "xml",
        },
        {
            "DATABASE_URL",
            "JWT_SECRET",
            "PORT",
            "POOL_SIZE",
            "PREPARED_STATEMENTS",
            "WEB_CONCURRENCY",
            "LOG_FORMAT",
        },
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


@pytest.mark.parametrize("kind", list(WRONG)[:-1])
def test_a_wrong_setting_is_refused_in_one_line_naming_it(settle: Settle, kind: str) -> None:
    settings, names = WRONG[kind]
    settle(**SOUND | settings)
    said = refusal()
    assert PASSWORD not in said
    assert SECRET[:20] not in said
    assert sorted(line.partition(":")[0] for line in said.splitlines()) == sorted(names)


@pytest.mark.parametrize(
    ("command", "kind"),
    [(MAIN, "the database is away"), (UVICORN, "nothing is set")],
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


def test_a_taken_port_is_told_before_anything_else_and_how_to_take_another(settle: Settle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settle(**SOUND | {"PORT": str(port)})
        with pytest.raises(SystemExit, match=f"^PORT: {port} is taken by .* say PORT={port + 1} make run$"):
            serve()


def test_a_superuser_is_refused(server: Server, database: str, settle: Settle) -> None:
    settle(**SOUND | {"DATABASE_URL": server.conninfo(database)})
    said = refusal()
    assert "The role postgres is not tasks_api" in said
    assert "DATABASE_URL" in said


def test_a_database_without_migrations_is_refused(server: Server, template: str, settle: Settle) -> None:
    assert template  # the role is there
    with server.database() as empty:
        settle(**SOUND | {"DATABASE_URL": server.conninfo(empty, "tasks_api")})
        assert "make migrate" in refusal()


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


def bearer(user: str) -> dict[str, str]:
    token = jwt.encode({"sub": user, "exp": time.time() + 60}, SECRET, "HS256")
    return {"Authorization": f"Bearer {token}"}


def test_prepared_statements_can_be_done_without(server: Server, database: str, settle: Settle) -> None:
    settle(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=SECRET)
    settle(PREPARED_STATEMENTS="false", POOL_SIZE="1")
    user = f"unprepared-{secrets.token_hex(4)}"

    async def create_and_list() -> None:
        async with served() as client:
            client.headers = bearer(user)
            for number in range(1, 5):
                made = await client.post(f"/api/{user}/tasks", json={"title": "x"})
                assert made.json()["id"] == number
            assert len((await client.get(f"/api/{user}/tasks")).json()) == 4

    asyncio.run(create_and_list())


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


def test_any_asgi_server_may_serve_it(server: Server, database: str, settle: Settle) -> None:
    """Only ours tells when a client leaves."""
    settle(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=SECRET)

    async def listed() -> httpx.Response:
        async with served() as client:
            return await client.get("/api/walter/tasks", headers=bearer("walter"))

    answer = asyncio.run(listed())
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize("seconds", ["0", "-1", "3601", "75s", "1.5"])
def test_a_keep_alive_that_is_no_number_of_seconds_is_refused(settle: Settle, seconds: str) -> None:
    settle(**SOUND | {"KEEP_ALIVE": seconds})
    assert refused().startswith("KEEP_ALIVE: ")


@pytest.mark.parametrize(
    "path",
    [
        "tasks",
        "/",
        "/tasks/",
        "//tasks",
        "/a//b",
        "/a b",
        "/a?b",
        "/a#b",
        "/%zz",
        "/%4",
        "/ü",
        "/a\n",
        "/..",
        "/a/./b",
        "https://a.example/tasks",
        "/{user_id}",
        '"/tasks"',
    ],
)
def test_a_root_path_that_is_no_prefix_of_a_path_is_refused(settle: Settle, path: str) -> None:
    settle(**SOUND | {"ROOT_PATH": path})
    assert refused().startswith("ROOT_PATH: ")


@pytest.mark.parametrize("path", ["", "/tasks", "/a/b.c", "/%C3%BC", "/~me/v1:2@x", "/..."])
def test_a_root_path_is_a_prefix_of_a_path(settle: Settle, path: str) -> None:
    settle(**SOUND | {"ROOT_PATH": path})
    assert load(Settings).root_path == path


def test_every_setting_is_explained_with_its_default(settle: Settle) -> None:
    explained = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    fields = Settings.model_fields | MigrationSettings.model_fields
    assert explained.keys() == {name.upper() for name in fields}
    settle(**SOUND, **{name: value for name, value in explained.items() if value})
    loaded = load(Settings)
    for name, field in Settings.model_fields.items():
        assert f"`{name.upper()}`" in (ROOT / "app/server/README.md").read_text()
        assert name.upper() in SOUND or getattr(loaded, name) == field.default, name
