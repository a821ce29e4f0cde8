"""Names of libraries that are used but not documented, and upstream faults that this code works around.

A comment where each is used gives the reason. If an upgrade removes such a name or fixes such a fault, a
test here fails and names the file. `make upgrades` runs these tests with the newest releases.
"""

import ast
import asyncio
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import metadata, packages_distributions, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastapi
import prometheus_client.multiprocess
import psycopg
import psycopg.adapt
import psycopg.errors
import psycopg.pq
import pytest
import starlette.routing
import uvicorn
import uvicorn.config
import yoyo.migrations
from conftest import ROOT
from fastapi import params
from prometheus_client import values
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import ServerState
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend

PROTOCOL = "app/server/protocol.py"
SERVER = "app/server/uvicorn_server.py"
PIPELINES = "app/postgres/connection.py"
ROUTING = "app/api/routing.py"
MIGRATIONS = "app/commands/migrations.py"
METRICS = "app/server/metrics.py"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"


async def app(_: Scope, receive: Receive, __: Send) -> None:
    await receive()


def begun(head: bytes = HEAD) -> httptools_impl.HttpToolsProtocol:
    """Return uvicorn's protocol while it handles a request."""
    config = uvicorn.Config(app, log_config=None)
    protocol = httptools_impl.HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    transport: Any = SimpleNamespace(
        get_extra_info=lambda _: None, is_closing=lambda: False, write=lambda _: None, close=lambda: None
    )
    protocol.connection_made(transport)
    protocol.data_received(head + b"\r\n")
    return protocol


def inside(name: str) -> object:
    """Return an attribute of the protocol, or the protocol for an empty name."""

    async def look() -> object:
        protocol = begun()
        try:
            return getattr(protocol, name) if name else protocol
        finally:
            for task in protocol.tasks:
                task.cancel()

    return asyncio.run(look())


def require(package: str, thing: object, where: str, names: str) -> None:
    """Fail and list the names that are missing in a release."""
    gone = [name for name in names.split() if not hasattr(thing, name)]
    what = getattr(thing, "__name__", type(thing).__name__)
    if gone:
        pytest.fail(f"{package} {version(package)} has no {', '.join(gone)} in {what} any more: see {where}")


CLASSES = [
    ("uvicorn", httptools_impl, PROTOCOL, "STATUS_LINE HttpToolsProtocol"),
    (
        "uvicorn",
        httptools_impl.HttpToolsProtocol,
        PROTOCOL,
        """connection_made connection_lost data_received eof_received pause_writing resume_writing shutdown
        on_url on_message_begin on_header on_headers_complete on_body on_message_complete
        on_response_complete _unset_keepalive_if_required""",
    ),
    ("uvicorn", uvicorn.Server, SERVER, "startup shutdown"),
    ("uvicorn", uvicorn.config, "app/server/run.py", "STARTUP_FAILURE"),
    (
        "psycopg",
        psycopg.pq.PGconn,
        PIPELINES,
        """enter_pipeline_mode exit_pipeline_mode pipeline_sync send_query_params send_prepare
        send_query_prepared flush consume_input is_busy get_result finish socket ssl_in_use
        transaction_status""",
    ),
    ("psycopg", psycopg.pq.PGresult, PIPELINES, "status ntuples"),
    ("psycopg", psycopg.adapt.Transformer, PIPELINES, "set_pgresult load_rows"),
    ("psycopg", psycopg.errors, PIPELINES, "error_from_result"),
    ("psycopg", psycopg.AsyncConnection, PIPELINES, "wait cancel_safe"),
    ("fastapi", fastapi.FastAPI, "app/main.py", "build_middleware_stack"),
    ("fastapi", params, "app/api/parameters.py", "Depends Path Query Header Param Body"),
    ("starlette", starlette.routing.Route, ROUTING, "matches"),
    ("prometheus-client", values, METRICS, "ValueClass get_value_class"),
    ("prometheus-client", prometheus_client.multiprocess.MultiProcessCollector, METRICS, "merge"),
    (
        "yoyo-migrations",
        PostgresqlPsycopgBackend,
        MIGRATIONS,
        """connect transaction execute lock mark_one unmark_one log_migration to_apply to_rollback
        get_applied_migration_hashes""",
    ),
    ("yoyo-migrations", yoyo.migrations.Migration, MIGRATIONS, "process_steps"),
]
OBJECTS = [
    (
        "",
        """app app_state connections cycle flow headers loop parser pipeline scope server_state tasks
        transport url""",
    ),
    ("cycle", "disconnected keep_alive message_event more_body response_complete response_started"),
    ("flow", "drain read_paused write_paused"),
]


@pytest.mark.parametrize(("package", "thing", "where", "names"), CLASSES)
def test_a_library_still_has_the_undocumented_names(
    package: str, thing: object, where: str, names: str
) -> None:
    require(package, thing, where, names)


@pytest.mark.parametrize(("name", "names"), OBJECTS, ids=["protocol", "cycle", "flow"])
def test_uvicorns_protocol_still_has_the_attributes_that_ours_uses(name: str, names: str) -> None:
    require("uvicorn", inside(""), PROTOCOL, name)
    require("uvicorn", inside(name), PROTOCOL, names)


def test_uvicorns_server_still_has_the_attributes_for_a_graceful_stop() -> None:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    server.config.load()
    require("uvicorn", server, SERVER, "config server_state started")
    require("uvicorn", server.config, SERVER, "http_protocol_class")
    require("uvicorn", server.config, "app/server/supervisor.py", "bind_socket configure_logging")
    require("uvicorn", server.server_state, SERVER, "default_headers")
    require("uvicorn", server.config.lifespan_class(server.config), SERVER, "state")


COUNT = """
from prometheus_client import Gauge
Gauge("canary", "A gauge.", multiprocess_mode="livesum").set(1)
"""


def test_prometheus_still_names_its_files_by_kind_and_process(tmp_path: Path) -> None:
    counting = subprocess.Popen(
        [sys.executable, "-c", COUNT], env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    )
    assert counting.wait(120) == 0
    names = {file.name for file in tmp_path.iterdir()}
    if f"gauge_livesum_{counting.pid}.db" not in names:
        pytest.fail(
            f"prometheus-client {version('prometheus-client')} calls a process's files {sorted(names)}: "
            "see app/server/metrics_folder.py"
        )


def body_after(upgrade: bytes) -> bytes:
    """Return the body that an application gets from uvicorn's protocol."""

    async def parse() -> bytes:
        protocol = begun(HEAD + upgrade)
        protocol.data_received(b"abc")
        return bytes(protocol.cycle.body)

    return asyncio.run(parse())


def test_uvicorn_still_loses_the_body_after_a_refused_upgrade() -> None:
    assert body_after(b"") == b"abc"
    if body_after(b"Connection: upgrade\r\nUpgrade: h2c\r\n") == b"abc":
        pytest.fail(
            f"uvicorn {version('uvicorn')} has fixed #2722: take _ignore_upgrade out of {PROTOCOL}, "
            "if the tests in tests/server/test_protocol.py then pass"
        )


def test_zttp_is_still_an_alpha_release() -> None:
    if not find_spec("zttp"):
        pytest.skip("zttp is not installed; any target of make installs it")
    if "Development Status :: 3 - Alpha" not in (metadata("zttp").get_all("Classifier") or ()):
        pytest.fail(
            f"zttp {version('zttp')} is no longer called alpha: "
            f'see "HTTP parsers" in app/server/README.md, and what then remains of {PROTOCOL}'
        )


def imported(folder: str) -> set[str]:
    """Return the names of the packages that the files of a folder import."""
    trees = (ast.walk(ast.parse(file.read_text())) for file in Path(ROOT, folder).rglob("*.py"))
    nodes = list(chain.from_iterable(trees))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_every_imported_package_is_declared() -> None:
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[>=]", each)[0] for each in project["dependencies"]}
    declared |= {"psycopg-pool"}  # installed by psycopg[pool]
    given = {name: set(found) for name, found in packages_distributions().items()}
    missing = {
        name
        for name in imported("app") & given.keys()
        if not declared & {found.lower().replace("_", "-") for found in given[name]}
    }
    assert missing == set()


@pytest.mark.parametrize("name", ["on_body", "pipeline"])
def test_a_canary_names_the_release_the_name_and_the_file(name: str) -> None:
    def kept(names: Iterable[str]) -> object:
        return SimpleNamespace(**{each: None for each in names if each != name})

    with pytest.raises(
        pytest.fail.Exception, match=rf"^uvicorn [0-9.]+ has no {name} in .*: see {PROTOCOL}$"
    ):
        require("uvicorn", kept(["on_body", "pipeline", "cycle"]), PROTOCOL, "on_body pipeline cycle")
