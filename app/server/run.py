"""Serves the application: in one process, or in several that share the port and end together."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app import main
from app.server import request_log
from app.server.metrics import Metrics, router
from app.server.protocol import Protocol
from app.server.request_log import RequestLog
from app.settings import Settings, load

# Seconds: longer than a load balancer keeps a connection (60, mostly), which would else send a request
# into one that is just being closed; and longer than a person thinks.
KEEP_ALIVE = 75
GRACE = 15  # seconds to finish what was accepted: more than a request may wait for the database

# A file that is there as soon as one of several processes serves. Another that finds the database away then
# has not been started wrongly: it ends with a status that makes the parent start it again.
SERVED = "TASKS_SERVED"
AGAIN = 75  # EX_TEMPFAIL; uvicorn's STARTUP_FAILURE would end them all


def serve() -> None:
    """Serve as the settings say until SIGTERM; then finish what was accepted, and end with status 0."""
    settings = load(Settings)
    config = uvicorn.Config(
        "app.server.run:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        http=Protocol,
        ws="none",  # an upgrade that nobody offers is ignored (RFC 9110, 7.8)
        log_config=request_log.config(settings),
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks where a client is
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it again when it is done
    with suppress(KeyboardInterrupt):
        sys.exit(serve_in_several(config) if config.workers > 1 else serve_in_one(config))


def create_app() -> FastAPI:
    """Make the application, observed by the request log and, where METRICS is on, by the metrics."""
    return main.create_app(lifespan, router.routes if load(Settings).metrics else ())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[main.State]:
    """Run the application's own lifespan with observers in its state."""
    settings = load(Settings)
    try:
        async with main.lifespan(app) as state:
            mark_serving()
            state["observers"] = [RequestLog(settings)]
            if not settings.metrics:
                yield state
                return
            metrics = Metrics()
            state["observers"].append(metrics)
            async with metrics.watching(state["database"].pool):
                yield state | {"metrics": metrics}
    except SystemExit as refusal:
        if isinstance(refusal.__cause__, psycopg.Error) and another_serves():
            await start_again()
        raise


def serve_in_one(config: uvicorn.Config) -> int:
    """Serve in this process; return its exit status."""
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else STARTUP_FAILURE


def serve_in_several(config: uvicorn.Config) -> int:
    """Serve in processes of their own; where one is refused its start, end them all."""
    with TemporaryDirectory() as folder:
        if load(Settings).metrics:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[SERVED] = f"{folder}/served"
        supervisor = Multiprocess(config, [config.bind_socket()])
        supervisor.run()
    refused = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if refused else 0


def mark_serving() -> None:
    """Note that one of several processes serves."""
    if SERVED in os.environ:
        Path(os.environ[SERVED]).touch()


def another_serves() -> bool:
    """Tell whether one of several processes has served already."""
    return SERVED in os.environ and Path(os.environ[SERVED]).exists()


async def start_again() -> None:
    """End this process, in a moment, so that the parent starts another."""
    await asyncio.sleep(1)
    os._exit(AGAIN)
