"""The application, put together."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app import health, log, openapi, problems, safety, tasks
from app.auth import Tokens
from app.database import Database
from app.headers import Headers
from app.log import RequestLog
from app.metrics import Metrics
from app.protocol import Protocol
from app.settings import Settings, load

GRACE = 15  # seconds to finish what was accepted: more than a request may wait for the database

# A file that is there as soon as one of several processes serves. Another that finds the database away then
# has not been started wrongly: it ends with a status that makes the parent start it again.
SERVED = "TASKS_SERVED"
AGAIN = 75  # EX_TEMPFAIL; uvicorn's STARTUP_FAILURE would end them all

DESCRIPTION = """Tasks of many users, kept apart by PostgreSQL's row security.

Every task endpoint needs a bearer token whose user claim (`sub`) equals `{user_id}` in the path.
A task of another user does not exist. Errors are `application/problem+json` (RFC 9457)."""


class API(FastAPI):
    """FastAPI with our headers around everything, also around its answer to a defect."""

    def build_middleware_stack(self) -> ASGIApp:
        """Wrap what handles defects, too."""
        return Headers(super().build_middleware_stack())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say why the start is refused in one line instead of a traceback."""

        async def briefly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = message["message"].rpartition("SystemExit: ")[2].strip()
            await send(message)

        await super().__call__(scope, receive, briefly if scope["type"] == "lifespan" else send)

    def openapi(self) -> dict[str, Any]:
        """Tell the whole truth about headers, errors and parameters."""
        self.openapi_schema = self.openapi_schema or openapi.complete(super().openapi())
        return self.openapi_schema


def tell_the_others() -> None:
    """Note that one of several processes serves."""
    if SERVED in os.environ:
        Path(os.environ[SERVED]).touch()


def another_serves() -> bool:
    """Tell whether one of several processes has served already."""
    return SERVED in os.environ and Path(os.environ[SERVED]).exists()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Refuse to start on a setting that is wrong or a database that is away or unsafe."""
    settings = load(Settings)
    metrics = Metrics() if settings.metrics else None
    try:
        async with Database(settings) as database:
            await safety.check(database)
            await safety.check_prepared(database)
            await safety.audit(database, settings.on_hole)
            tell_the_others()
            watch = asyncio.create_task(metrics.watch(database.pool)) if metrics else None
            yield {
                "database": database,
                "tokens": Tokens(settings),
                "origins": frozenset(settings.cors_origins),
                "metrics": metrics,
                "observers": [RequestLog(settings), *([metrics] if metrics else [])],
            }
            if watch:
                watch.cancel()
    except psycopg.Error as error:
        if another_serves():
            await asyncio.sleep(1)
            os._exit(AGAIN)
        raise SystemExit(f"DATABASE_URL: {' '.join(str(error).split())}") from None
    except safety.Unready as reason:
        raise SystemExit(str(reason)) from None


app = API(
    title="Tasks",
    version="1.0.0",
    description=DESCRIPTION,
    lifespan=lifespan,
    redirect_slashes=False,
)
app.include_router(tasks.router)
app.include_router(health.router)
problems.install(app)


def serve() -> None:
    """Serve as the settings say until SIGTERM; then finish what was accepted, and end with status 0."""
    settings = load(Settings)
    config = uvicorn.Config(
        "app.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        http=Protocol,
        ws="none",  # an upgrade that nobody offers is ignored (RFC 9110, 7.8)
        log_config=log.config(settings),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it again when it is done
    with suppress(KeyboardInterrupt):
        sys.exit(several(config, settings) if config.workers > 1 else one(config))


def one(config: uvicorn.Config) -> int:
    """Serve in this process; return its exit status."""
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else STARTUP_FAILURE


def several(config: uvicorn.Config, settings: Settings) -> int:
    """Serve in processes of their own; where one is refused its start, end them all."""
    with TemporaryDirectory() as folder:
        if settings.metrics:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[SERVED] = f"{folder}/served"
        supervisor = Multiprocess(config, [config.bind_socket()])
        supervisor.run()
    refused = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if refused else 0


if __name__ == "__main__":
    serve()
