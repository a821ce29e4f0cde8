"""Settings: a wrong one ends the start with one line for each, without a traceback or a secret."""

import asyncio
import errno
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import jwt
import pytest
from conftest import ROOT, Api, Server, serving
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from support.contract import ask, assert_problem
from support.issuers import certificate
from support.starts import refusal, served

from app import main, setting_types, settings
from app.server.run import serve, try_address, why_not
from app.settings import Base, MigrationSettings, Settings, load

Configure = Callable[..., None]
PASSWORD = "a-password-nobody-may-see"
SECRET = "0123456789abcdef" * 2
DATABASE = f"postgresql://tasks_api:{PASSWORD}@127.0.0.1:1/tasks"
MAIN = [sys.executable, "-m", "app", "run"]
UVICORN = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]
SOUND = {"DATABASE_URL": DATABASE, "JWT_SECRET": SECRET}


# The prefix of a line of uvicorn, of our log, or none.
LEVEL = re.compile(r"(\d\S+ )?ERROR:? +")
INFO = re.compile(r"(\d\S+ )?INFO")


def start(folder: Path, command: list[str], settings: dict[str, str]) -> list[str]:
    """Start the API, which must fail; return its error lines."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "PORT": "0"} | settings
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode not in (0, -9, -15)
    assert "Traceback" not in said
    for secret in (PASSWORD, SECRET, SECRET[:20]):
        assert secret not in said
    return [LEVEL.sub("", line) for line in said.splitlines() if not INFO.match(line)]


def refused(kind: type[Base] = Settings) -> str:
    """Load the settings, which must fail; return the one line of the error."""
    with pytest.raises(SystemExit) as refusal:
        load(kind)
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
        {"DATABASE_URL", "JWT_SECRET"},  # one line names both variables
    ),
    "no connection string": (
        {"DATABASE_URL": f"host={PASSWORD} what", "PORT": "65536"},
        {"DATABASE_URL", "PORT"},
    ),
    "the database is away": ({}, {"DATABASE_URL"}),
}


@pytest.mark.parametrize("kind", list(WRONG)[:-1])
def test_a_wrong_setting_is_refused_with_one_line_that_names_it(configure: Configure, kind: str) -> None:
    settings, names = WRONG[kind]
    configure(**SOUND | settings)
    said = refusal()
    assert PASSWORD not in said
    assert SECRET[:20] not in said
    assert sorted(line.partition(":")[0] for line in said.splitlines()) == sorted(names)


@pytest.mark.parametrize(
    ("command", "kind"),
    [(MAIN, "the database is away"), (UVICORN, "nothing is set")],
)
def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it(
    tmp_path: Path, command: list[str], kind: str
) -> None:
    settings, names = WRONG[kind]
    lines = start(tmp_path, command, SOUND | settings)
    if lines[-1].startswith("Application startup failed"):
        lines.pop()
    assert {line.partition(":")[0] for line in lines} == names
    assert len(lines) == len(names)


def test_a_port_in_use_is_reported_first_with_a_command_for_another(configure: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        configure(**SOUND | {"PORT": str(port)})
        with pytest.raises(SystemExit, match=f"^PORT: {port} is used by .* run PORT={port + 1} make run$"):
            serve()


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    "host",
    [
        *("192.0.2.1", "2001:db8::1", "host.invalid", "256.0.0.1", "0.0.0.0/0", "127.0.0.1:8000", "[::1]"),
        *("http://127.0.0.1", "/run/tasks.sock", "127.0.0.1 ::1", "1::2::3", "a..b", "münchen", "x" * 64),
    ],
)
def test_a_host_that_is_not_of_this_machine_is_reported_first(
    configure: Configure, host: str, processes: str
) -> None:
    configure(**SOUND | {"HOST": host, "PORT": "0", "WEB_CONCURRENCY": processes})
    with pytest.raises(SystemExit, match=f"^HOST: {re.escape(host)} .*; write [^\n]+$"):
        serve()


@pytest.mark.parametrize(
    ("number", "setting", "said"),
    [
        (errno.EACCES, "PORT", "root"),
        (errno.EADDRNOTAVAIL, "HOST", "address of this machine"),
        (errno.EAFNOSUPPORT, "HOST", "IPv6"),
        (errno.EINVAL, "HOST", "Invalid argument"),
    ],
)
def test_the_error_of_a_failed_listen_names_the_setting(number: int, setting: str, said: str) -> None:
    line = why_not(OSError(number, os.strerror(number)), "fe80::1", 80)
    assert line.startswith(f"{setting}: ")
    assert said in line


def test_a_name_may_also_have_an_address_of_an_unsupported_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For example localhost on a machine without IPv6."""
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    absent = (socket.AF_APPLETALK, socket.SOCK_STREAM, 0, "", ("", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent, v4])
    try_address("localhost", 0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent])
    with pytest.raises(OSError, match="not supported"):
        try_address("localhost", 0)


def test_an_unknown_setting_is_a_warning_at_startup(server: Server, database: str) -> None:
    with serving(server.conninfo(database, "tasks_api"), CORS_ORIGIN="https://a.example") as running:
        assert running.log.read_text().count("CORS_ORIGIN is not a setting; did you mean CORS_ORIGINS?") == 1


def test_a_superuser_is_refused(server: Server, database: str, configure: Configure) -> None:
    configure(**SOUND | {"DATABASE_URL": server.conninfo(database)})
    said = refusal()
    assert "The role is postgres, not tasks_api" in said
    assert "DATABASE_URL" in said


def test_a_database_without_migrations_is_refused(
    server: Server, template: str, configure: Configure
) -> None:
    assert template  # creates tasks_api
    with server.database() as empty:
        configure(**SOUND | {"DATABASE_URL": server.conninfo(empty, "tasks_api")})
        assert "make migrate" in refusal()


@pytest.mark.usefixtures("template")  # creates tasks_api
def test_the_refusal_of_a_server_without_the_role_says_to_migrate(
    server: Server, configure: Configure
) -> None:
    configure(**SOUND | {"DATABASE_URL": server.conninfo("postgres", "tasks_api")})
    with server.connect("postgres") as owner:
        owner.execute("alter role tasks_api rename to elsewhere")
        try:
            said = refusal()
        finally:
            owner.execute("alter role elsewhere rename to tasks_api")
    assert said.startswith("DATABASE_URL: connection failed")
    assert 'role "tasks_api" does not exist; if there is no role tasks_api, run make migrate' in said


def status(api: Api, user: str = "alice", **claims: object) -> int:
    payload = {"sub": "alice", "exp": int(time.time()) + 600} | claims
    # jwt.encode would refuse an issuer that is not a string
    token = jwt.PyJWS().encode(json.dumps(payload).encode(), api.secret, "HS256")
    answer = ask(api, "GET", f"/api/{user}/tasks", token=token)
    if answer.status_code == 401:
        assert_problem(answer, 401, "token")
    return answer.status_code


def test_audience_issuer_claim_secret_and_origins_can_be_set(server: Server, database: str) -> None:
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


def test_prepared_statements_can_be_disabled(server: Server, database: str, configure: Configure) -> None:
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=SECRET)
    configure(PREPARED_STATEMENTS="false", POOL_SIZE="1")
    user = f"unprepared-{secrets.token_hex(4)}"

    async def create_and_list() -> None:
        async with served() as client:
            client.headers = bearer(user)
            for number in range(1, 5):
                made = await client.post(f"/api/{user}/tasks", json={"title": "x"})
                assert made.json()["id"] == number
            assert len((await client.get(f"/api/{user}/tasks")).json()) == 4

    asyncio.run(create_and_list())


def test_responses_of_added_middleware_have_our_headers() -> None:
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


def test_another_asgi_server_can_run_the_app(server: Server, database: str, configure: Configure) -> None:
    """Only our protocol detects a disconnected client."""
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET=SECRET)

    async def listed() -> httpx.Response:
        async with served() as client:
            return await client.get("/api/walter/tasks", headers=bearer("walter"))

    answer = asyncio.run(listed())
    assert (answer.status_code, answer.json()) == (200, [])


NUMBERS = {
    "PORT": ["http", "-1", "65536", "8000x", "0x50", "80.5"],
    "POOL_SIZE": ["0", "-3", "1001", "9" * 400, "ten", "1.5"],
    "WEB_CONCURRENCY": ["0", "1025", "auto", "½"],
    "KEEP_ALIVE": ["0", "-1", "3601", "75s", "1.5", "inf", "nan"],
    "JWT_LEEWAY": ["-1", "301", "10s", "1e1"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in NUMBERS for value in NUMBERS[name]])
def test_the_error_for_a_number_out_of_range_names_the_range(
    configure: Configure, name: str, value: str
) -> None:
    configure(**SOUND | {name: value})
    assert re.fullmatch(rf"{name}: is not a whole number from \d+ to \d+; write one, like \d+", refused())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREPARED_STATEMENTS", "maybe"),
        ("METRICS", "2"),
        ("DOCS", "none"),
        ("LOG_FORMAT", "JSON"),
        ("LOG_USERS", "email"),
        ("ON_HOLE", "ignore"),
        ("JWT_ALGORITHMS", "HS256,none"),
    ],
)
def test_the_error_for_an_invalid_word_names_the_valid_ones(
    configure: Configure, name: str, value: str
) -> None:
    configure(**SOUND | {name: value})
    assert refused().startswith(f"{name}: is ")
    assert refused().endswith("; write one of these")


AROUND: dict[str, tuple[Callable[[str], str], str]] = {
    "double quotes": (lambda value: f'"{value}"', "quotes"),
    "single quotes": (lambda value: f"'{value}'", "quotes"),
    "typographic quotes": (lambda value: f"\u201c{value}\u201d", "quotes"),
    "the line break of a file": (lambda value: value + "\n", "line break"),
    "the line break of a Windows file": (lambda value: value + "\r\n", "line break"),
    "a carriage return": (lambda value: value + "\r", "carriage return"),
    "a blank behind": (lambda value: value + " ", "white space"),
    "a tab before": (lambda value: "\t" + value, "white space"),
    "a no-break space": (lambda value: value + "\u00a0", "white space"),
    "a byte order mark": (lambda value: "\ufeff" + value, "invisible"),
    "a zero-width space": (lambda value: value + "\u200b", "invisible"),
}
VALUES = {
    "DATABASE_URL": DATABASE,
    "JWT_SECRET": SECRET,
    "BETTER_AUTH_SECRET": SECRET,
    "JWT_SECRET_PREVIOUS": SECRET,
    "JWT_JWKS_URL": "https://issuer.example/jwks",
    "JWT_ALGORITHMS": "HS256",
    "JWT_AUDIENCE": "tasks",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_USER_CLAIM": "sub",
    "CORS_ORIGINS": "https://a.example",
    "HOST": "127.0.0.1",
    "PORT": "8000",
    "ROOT_PATH": "/tasks",
    "LOG_FORMAT": "json",
    "METRICS": "true",
}


@pytest.mark.parametrize("kind", AROUND)
def test_quotes_and_white_space_around_a_value_are_refused(configure: Configure, kind: str) -> None:
    around, cause = AROUND[kind]
    for name, value in VALUES.items():
        configure(
            **SOUND | {"JWT_SECRET": "" if name == "BETTER_AUTH_SECRET" else SECRET} | {name: around(value)}
        )
        said = refused()
        assert said.startswith(f"{name.replace('BETTER_AUTH', 'JWT')}: ")
        assert cause in said
        assert ("BETTER_AUTH_SECRET" in said) == (name == "BETTER_AUTH_SECRET")
        assert SECRET not in said
        assert PASSWORD not in said
        configure(**{name: ""})


def test_a_setting_that_repeats_its_own_name_is_refused(configure: Configure) -> None:
    for name in VALUES.keys() - {"BETTER_AUTH_SECRET"}:
        configure(**SOUND | {name: f"{name}={VALUES[name]}"})
        assert refused().startswith(f"{name}: repeats its own name")
        configure(**{name: ""})


def test_a_secret_may_contain_a_line_break_as_openssl_writes_it(configure: Configure) -> None:
    configure(**SOUND | {"JWT_SECRET": f"{SECRET}\n{SECRET}"})
    loaded = load(Settings).jwt_secret
    assert loaded
    assert loaded.get_secret_value() == f"{SECRET}\n{SECRET}"


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA0123456789abcdef0123456789\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMCowBQYDK2VwAyEA0123456789abcdef0123456789\n-----END CERTIFICATE-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMXqK3aFZz3oH0000000000",
        '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}',
    ],
)
@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_SECRET_PREVIOUS"])
def test_a_public_key_is_not_accepted_as_shared_secret(configure: Configure, name: str, key: str) -> None:
    """With a public key as the secret of an HMAC, anyone can sign (RFC 8725, section 2.1)."""
    configure(**SOUND | {name: key})
    assert refused().startswith(f"{name}: is a key")
    assert key[:30] not in refused()


ORIGINS = {
    "https://a.example/": "write that",
    "https://a.example/app": "as https://a.example;",
    "https://a.example?x": "as https://a.example;",
    "https://a.example#x": "as https://a.example;",
    "https://a.example:443": "as https://a.example;",
    "http://a.example:80": "as http://a.example;",
    "https://a.example:": "as https://a.example;",
    "https://a.example:08443": "as https://a.example:8443;",
    "HTTPS://a.example": "as https://a.example;",
    "https://A.Example": "as https://a.example;",
    "https://a.example\\": "as https://a.example;",
    "http://[0:0::1]:3000": "as http://[::1]:3000;",
    "https://münchen.example": "as https://xn--mnchen-3ya.example;",
    "https://用户.example": "as https://xn--zouo53b.example;",
    "https://straße.example": "as https://xn--strae-oqa.example;",
    "https://*.Example.app": "as https://*.example.app;",
    "https://*.example.app/": "as https://*.example.app;",
    "https://a.example https://b.example": "commas",
    "https://a.example;https://b.example": "commas",
    '["https://a.example", "https://b.example"]': "JSON list",
    "[]": "JSON list",
    '"https://a.example","https://b.example"': "quotes",
    'https://b.example, "https://a.example"': "quotes",
    "*": "every website",
    "https://a.example,*": "every website",
    "null": "any page",
    "a.example": "scheme",
    "localhost:3000": "scheme",
    "//a.example": "scheme",
    "https:a.example": "scheme",
    "https://https://a.example": "as https://https;",
    "wss://a.example": "scheme",
    "file://": "scheme",
    "htps://a.example": "write https",
    "*://a.example": "not an origin",
    "https://": "host",
    "https:///a": "as https://a;",
    "https://:3000": "host",
    "https://a.example:0": "port",
    "https://a.example:65536": "port",
    "https://a.example:http": "port",
    "https://a.example:*": "port",
    "https://a..example": "not a valid host name",
    "https://a%41.example": "as https://aa.example;",
    "https://a<b.example": "domain name",
    f"https://{'a' * 64}.example": "not a valid host name",
    "http://127.1": "as http://127.0.0.1;",
    "http://256.0.0.1": "IPv4",
    "http://2130706433": "as http://127.0.0.1;",
    "http://0x7f.0.0.1": "as http://127.0.0.1;",
    "http://[::1": "IPv6",
    "http://[::g]": "IPv6",
    "https://*": "*.example.com",
    "https://*.app": "*.example.com",
    "https://example.*": "*.example.com",
    "https://*example": "*.example.com",
    "https://*.co.uk": "*.example.com",
    "https://*.com.au": "*.example.com",
    "https://*.*.example.app": "*.example.com",
    "https://*-*.example.app": "*.example.com",
    "https://192.168.0.*": "*.example.com",
    "https://*.168.0.1": "*.example.com",
    "chrome-extension://*": "*.example.com",
    ",": "without members",
}


@pytest.mark.parametrize("value", ORIGINS)
def test_an_origin_that_browsers_do_not_send_is_refused_with_the_right_form(
    configure: Configure, value: str
) -> None:
    configure(**SOUND | {"CORS_ORIGINS": value})
    said = refused()
    assert said.startswith("CORS_ORIGINS: ")
    assert ORIGINS[value] in said


@pytest.mark.parametrize(
    "value",
    [
        "https://a.example",
        "https://a.example, https://b.example,http://c.example",
        "http://localhost:3000",
        "http://localhost",
        "https://a.example:8443",
        "http://127.0.0.1:5173",
        "http://[::1]:3000",
        "https://xn--mnchen-3ya.example",
        "https://a_b.example",
        "https://a.example.",
        "https://*.example.app",
        "https://app-*.vercel.app",
        "https://*-app.example.co.uk",
        "https://a.*.example.com:8443",
        "http://*.localhost:3000",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "tauri://localhost",
    ],
)
def test_an_origin_that_a_browser_sends_is_accepted_unchanged(configure: Configure, value: str) -> None:
    configure(**SOUND | {"CORS_ORIGINS": value})
    assert load(Settings).cors_origins == re.split(", ?", value)


@pytest.mark.parametrize(
    "form", ["https://user:{}@a.example", "user:{}@a.example", "https://u:{} x@a.example"]
)
def test_a_password_in_an_origin_is_not_printed(configure: Configure, form: str) -> None:
    configure(**SOUND | {"CORS_ORIGINS": form.format(PASSWORD)})
    assert PASSWORD not in refused()


def test_an_unknown_parameter_that_may_be_part_of_a_password_is_not_printed(configure: Configure) -> None:
    configure(**SOUND | {"DATABASE_URL": f"postgresql://u:p?{TAIL}=1"})
    assert TAIL not in refused()
    configure(DATABASE_URL="postgresql://u:p@h/d?a\nb=1")
    assert refused()


# Passwords of which libpq would parse a part as host, port, database or parameter.
TAIL = "tailtail"
UNESCAPED = [
    f"postgresql://u:p@{TAIL}@h/d",
    f"postgresql://u:p@@{TAIL}@h/d",
    f"postgresql://u:{TAIL}@@h/d",
    f"postgresql://u:@{TAIL}@h:5432/d?sslmode=require",
    f"postgresql://u:p@{TAIL},x@h/d",
    f"postgresql://u:p@{TAIL}:1@h/d",
    f"postgresql://u:p@{TAIL}/x@h/d",
    f"postgresql://u:p@{TAIL}#x@h/d",
    f"postgresql://u:p@{TAIL}?x=1@h/d",
    f"postgresql://u:p@[{TAIL}]@h/d",
    f"postgresql://u:{TAIL}/x@h/d",
    f"postgresql://u:12/{TAIL}@h/d",
    f"postgresql://u:/{TAIL}@h/d",
    f"postgresql://u:p/{TAIL}?{TAIL}=1@h/d",
    f"postgresql://u:p/{TAIL}?{TAIL}@h/d",
    f"postgresql://u:p%{TAIL}@h/d",
    f"postgresql://u:p%4{TAIL}@h/d",
    f"postgresql://u:{TAIL}%@h/d",
    f"postgresql://u:p {TAIL}@h/d",
    f"postgresql://u:{TAIL}/d",
    f"postgres://u:p@{TAIL}@h/d",
]


@pytest.mark.parametrize("url", UNESCAPED)
def test_a_password_that_is_not_percent_encoded_is_refused_and_no_part_of_it_printed(
    configure: Configure, url: str
) -> None:
    configure(**SOUND | {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": url})
    for kind, name in ((Settings, "DATABASE_URL"), (MigrationSettings, "MIGRATION_DATABASE_URL")):
        said = refused(kind)
        assert said.startswith(f"{name}: contains a character that must be percent-encoded")
        assert TAIL not in said


ADDRESSES = {
    "postgresql+asyncpg://u@h/d": "SQLAlchemy",
    "postgresql+psycopg2://u@h/d": "SQLAlchemy",
    "postgresql+psycopg://u@h/d": "SQLAlchemy",
    "postgres+pg8000://u@h/d": "SQLAlchemy",
    "jdbc:postgresql://h/d?user=u": "JDBC",
    "mysql://u@h/d": "not a PostgreSQL URL",
    "mysql+pymysql://u@h/d": "not a PostgreSQL URL",
    "sqlite:///tasks.db": "not a PostgreSQL URL",
    "mongodb+srv://u@h/d": "not a PostgreSQL URL",
    "prisma+postgres://h": "not a PostgreSQL URL",
    "https://h/d": "not a PostgreSQL URL",
    "PostgreSQL://u@h/d": "write postgresql://",
    "psql 'postgresql://u@h/d'": "command",
    "postgresql:/u@h/d": "not a PostgreSQL connection string",
    "u:p@h/d": "not a PostgreSQL connection string",
    "host=h password=a b": "not a PostgreSQL connection string",
    "postgresql://u@h/d?pgbouncer=true": "pgbouncer, which PostgreSQL's libpq does not know; remove it",
    "postgresql://u@h/d?sslmode=require&pgbouncer=true&connection_limit=1": "pgbouncer",
    "postgresql://u@h/d?schema=public": "the tables are in the schema app",
    "postgresql://u@h/d?currentSchema=app": "the tables are in the schema app",
    "postgresql://u@h/d?connection_limit=5": "set POOL_SIZE",
    "postgresql://u@h/d?pool_timeout=0": "remove it",
    "postgresql://u@h/d?prepared_statement_cache_size=0": "PREPARED_STATEMENTS=false",
    "postgresql://u@h/d?sslaccept=strict": "sslmode=verify-full",
    "postgresql://u@h/d?ssl=require": "sslmode=require",
    "postgresql://u@h/d?uselibpqcompat=true": "remove it",
    "postgresql://u@h:70000/d": "between 1 and 65535",
    "postgresql://u@h:0/d": "between 1 and 65535",
    "host=h port=x": "not a number",
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_a_url_that_libpq_cannot_parse_is_refused_with_the_reason(configure: Configure, url: str) -> None:
    configure(**SOUND | {"DATABASE_URL": url})
    assert refused().startswith("DATABASE_URL: ")
    assert ADDRESSES[url] in refused()


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@h/d",
        "postgresql://u:p%40%2F%3A%25@h/d",
        "postgresql://u:p#s?:ö@h/d",
        "postgresql://u@h1:1,h2:2/d?target_session_attrs=read-write",
        "postgresql://u@[::1]:5432/d",
        "postgresql://u@%2Frun%2Fpostgresql/d",
        "postgresql:///d?host=/run/postgresql&user=u",
        "postgresql://u@%40tasks/d",
        "postgresql:///d?host=@tasks&user=u",
        "postgresql://u@h/d?ssl=true&connect_timeout=3",
        "postgresql://h/d?user=u@server",
        "host=/run/postgresql dbname=d user=u password='a b@c/d'",
        "dbname=d",
        "service=tasks",
    ],
)
def test_a_url_that_libpq_can_parse_is_accepted(configure: Configure, url: str) -> None:
    configure(**SOUND | {"DATABASE_URL": url})
    assert load(Settings).database_url.get_secret_value() == url


@pytest.mark.parametrize("url", [DATABASE, "host=h user=tasks_api dbname=d"])
def test_migrations_are_refused_as_tasks_api(configure: Configure, url: str) -> None:
    configure(MIGRATION_DATABASE_URL=url)
    assert refused(MigrationSettings).startswith("MIGRATION_DATABASE_URL: has the user tasks_api")


def test_sslrootcert_system_uses_existing_root_certificates_or_is_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.pem"
    roots.touch()
    monkeypatch.setenv("SSL_CERT_FILE", "")  # so that monkeypatch restores it
    monkeypatch.setenv("SSL_CERT_DIR", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: ssl.DefaultVerifyPaths(*[""] * 6))
    monkeypatch.setattr(setting_types, "BUNDLES", ["/nowhere", str(roots)])
    configure(**SOUND | {"DATABASE_URL": "service=tasks"})  # which may contain sslrootcert=system
    load(Settings)
    assert os.environ["SSL_CERT_FILE"] == str(roots)
    os.environ["SSL_CERT_FILE"] = "/mine"
    load(Settings)
    assert os.environ["SSL_CERT_FILE"] == "/mine"
    os.environ["SSL_CERT_FILE"] = ""
    monkeypatch.setattr(setting_types, "BUNDLES", ["/nowhere"])
    load(Settings)
    configure(DATABASE_URL="postgresql://u@h/d?sslmode=verify-full&sslrootcert=system")
    assert "SSL_CERT_FILE" in refused()
    configure(**SOUND | {"DATABASE_URL": "postgresql://u@h/d", "PGSSLROOTCERT": "system"})
    assert "SSL_CERT_FILE" in refused()


@contextmanager
def postgresql_with_tls(file: Path) -> Iterator[int]:
    """Accept TLS like PostgreSQL (section 55.2.10) with this certificate, then refuse the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(8)
            connection.sendall(b"S")
            with context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(1024)
                fields = b"SFATAL\0C28000\0Mtrusted\0\0"
                encrypted.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                encrypted.recv(1)

    def accept() -> None:
        with suppress(OSError):
            while True:
                answer(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


CONNECT = """
import psycopg
from app import setting_types, settings
if {bundle!r}:
    setting_types.BUNDLES = [{bundle!r}]
    setting_types.ssl.get_default_verify_paths = lambda: setting_types.ssl.DefaultVerifyPaths(*[""] * 6)
try:
    psycopg.connect(settings.load(settings.DatabaseSettings).database_url.get_secret_value())
except psycopg.Error as error:
    print(error)
"""


def test_libpq_trusts_the_root_certificates_of_the_system(tmp_path: Path) -> None:
    """The OpenSSL in psycopg-binary searches a folder that does not exist."""
    file = certificate(tmp_path)

    def connected(bundle: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CONNECT.format(bundle=bundle)],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    with postgresql_with_tls(file) as port:
        url = f"postgresql://u@localhost:{port}/d?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=system"
        assert "trusted" in connected(str(file))
        assert "trusted" not in connected("")


@pytest.mark.parametrize("name", ["JWT_AUDIENCE", "JWT_ISSUER", "JWT_ALGORITHMS"])
@pytest.mark.parametrize(
    "value", [",", ", ,", '["HS256"]', "'HS256', 'HS384'", "HS256,'HS384'", "HS256,\nHS384"]
)
def test_a_malformed_list_is_refused(configure: Configure, name: str, value: str) -> None:
    """Otherwise an audience of only commas would allow tokens for any audience."""
    configure(**SOUND | {name: value})
    assert refused().startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("keys", "algorithms"),
    [
        ({}, "RS256"),
        ({}, "EdDSA,ES256"),
        ({"JWT_SECRET": "", "JWT_JWKS_URL": "https://issuer.example/jwks"}, "HS256"),
        ({"JWT_SECRET": "", "JWT_JWKS_URL": "https://issuer.example/jwks"}, "HS384,HS512"),
    ],
)
def test_algorithms_without_a_matching_key_are_refused(
    configure: Configure, keys: dict[str, str], algorithms: str
) -> None:
    configure(**SOUND | keys | {"JWT_ALGORITHMS": algorithms})
    assert refused().startswith("JWT_ALGORITHMS: contains no algorithm for ")


def test_a_secret_may_be_set_although_no_algorithm_uses_it(configure: Configure) -> None:
    configure(**SOUND, JWT_JWKS_URL="https://issuer.example/jwks", JWT_ALGORITHMS="EdDSA")
    assert load(Settings)


# The file


LINES = f"DATABASE_URL={DATABASE}\nJWT_SECRET={SECRET}\nPORT=8001\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_in_utf_8_may_have_a_byte_order_mark_and_crlf(
    configure: Configure, encoding: str, end: str
) -> None:
    configure()
    Path(".env").write_bytes(f"export {LINES}# ü\n".replace("\n", end).encode(encoding))
    loaded = load(Settings)
    assert loaded.database_url.get_secret_value() == DATABASE
    assert loaded.port == 8001


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_utf_16_is_refused_in_one_line(configure: Configure, encoding: str) -> None:
    configure(**SOUND)
    Path(".env").write_bytes(LINES.encode(encoding))
    assert re.fullmatch(r"\.env: .*UTF-16.*; save it as UTF-8", refused())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp437"])
def test_a_file_in_an_older_encoding_is_refused_with_the_line(configure: Configure, encoding: str) -> None:
    configure(**SOUND)
    Path(".env").write_bytes(f"{LINES}# für alle\n".encode(encoding))
    assert refused() == ".env: is not UTF-8 in line 4; save it as UTF-8"


def test_a_folder_in_place_of_the_file_is_refused_unless_it_is_a_virtual_environment(
    configure: Configure,
) -> None:
    configure(**SOUND)
    Path(".env").mkdir()
    assert refused().startswith(".env: is a directory")
    Path(".env/pyvenv.cfg").touch()
    assert load(Settings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_that_this_user_may_not_read_is_refused(configure: Configure) -> None:
    configure(**SOUND)
    Path(".env").touch(mode=0)
    assert refused().startswith(".env: cannot be read: Permission denied")


def test_a_file_that_cannot_be_read_is_refused(configure: Configure) -> None:
    configure(**SOUND)
    Path(".env").symlink_to(".env")
    assert refused().startswith(".env: cannot be read: Too many levels of symbolic links")


def test_duplicate_and_misspelt_settings_in_the_file_cause_a_warning(configure: Configure) -> None:
    configure(
        JWT_AUDIANCE="x", Cors_Origin="https://a.example", HOSTNAME="x", JWT_SECRET_FILE="x", POOLSIZE=""
    )
    Path(".env").write_text(f"{LINES}\nexport PORT=1\n# PORT=2\nLOG_USER=id\nPGPORT=1\n")
    assert settings.find_mistakes() == [
        ".env: PORT is set 2 times; the last value is used",
        "CORS_ORIGIN is not a setting; did you mean CORS_ORIGINS?",
        "JWT_AUDIANCE is not a setting; did you mean JWT_AUDIENCE?",
        "LOG_USER is not a setting; did you mean LOG_USERS?",
    ]
    configure(JWT_AUDIENCE="x", CORS_ORIGINS="https://a.example", LOG_USERS="id")
    assert settings.find_mistakes() == [".env: PORT is set 2 times; the last value is used"]


def test_a_value_that_is_parsed_differently_than_written_causes_a_warning(configure: Configure) -> None:
    configure(JWT_SECRET_PREVIOUS=f"{SECRET}'", JWT_ISSUER="'https://a.example'")
    Path(".env").write_text(f'DATABASE_URL=postgresql://u:a${{b}}c@h/t\nJWT_SECRET={SECRET}"\nOTHER=${{x}}\n')
    assert settings.find_mistakes() == [
        ".env: ${…} in DATABASE_URL is expanded; to prevent it, set DATABASE_URL in the environment",
        "JWT_SECRET ends with a quote but does not begin with one; is the quote part of the value?",
        "JWT_SECRET_PREVIOUS ends with a quote but does not begin with one; is the quote part of the value?",
    ]


def test_the_error_for_a_missing_setting_names_a_misspelt_one(configure: Configure) -> None:
    configure(**SOUND | {"JWT_SECRET": ""}, JWT_SECERT=SECRET)
    assert refused() == "JWT_SECRET: is missing; JWT_SECERT is set, which is not a setting"
    configure(JWT_SECRET=SECRET, DATABASE_URL="")
    Path(".env").write_text(f"DATABASE_ULR={DATABASE}\nDATABASE_URL=\n")
    assert refused() == "DATABASE_URL: is missing; DATABASE_ULR is set, which is not a setting"


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
def test_an_invalid_root_path_is_refused(configure: Configure, path: str) -> None:
    configure(**SOUND | {"ROOT_PATH": path})
    assert refused().startswith("ROOT_PATH: ")


@pytest.mark.parametrize("path", ["", "/tasks", "/a/b.c", "/%C3%BC", "/~me/v1:2@x", "/..."])
def test_a_valid_root_path_is_accepted(configure: Configure, path: str) -> None:
    configure(**SOUND | {"ROOT_PATH": path})
    assert load(Settings).root_path == path


def test_every_setting_is_documented_with_its_default(configure: Configure) -> None:
    explained = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    fields = Settings.model_fields | MigrationSettings.model_fields
    assert explained.keys() == {name.upper() for name in fields}
    configure(**SOUND, **{name: value for name, value in explained.items() if value})
    loaded = load(Settings)
    for name, field in Settings.model_fields.items():
        assert f"`{name.upper()}`" in (ROOT / "app/server/README.md").read_text()
        assert name.upper() in SOUND or getattr(loaded, name) == field.default, name
