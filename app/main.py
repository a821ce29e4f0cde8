"""The application, put together."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import Any

import psycopg
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import health, log, openapi, safety, tasks
from app.auth import Tokens
from app.database import Database
from app.headers import Headers
from app.keys import Keys
from app.log import RequestLog
from app.metrics import Metrics
from app.processes import another_serves, one, several, start_again, tell_the_others
from app.protocol import Protocol
from app.settings import Settings, load

# Seconds: longer than a load balancer keeps a connection (60, mostly), which would else send a request
# into one that is just being closed; and longer than a person thinks.
KEEP_ALIVE = 75
GRACE = 15  # seconds to finish what was accepted: more than a request may wait for the database

DESCRIPTION = """Tasks of many users, kept apart by PostgreSQL's row security.

Every task endpoint needs a bearer token whose user claim (`sub`) equals `{user_id}` in the path.
A task of another user does not exist. Errors are `application/problem+json` (RFC 9457)."""


class API(FastAPI):
    """FastAPI's routes and OpenAPI behind one wrapper, ours: its own ones serve what is not used here.

    Routes are those of app.routing, handlers of errors those of app.errors; middleware that is added runs
    within the wrapper.
    """

    @cached_property
    def outermost(self) -> ASGIApp:
        """What every request passes."""
        app: ASGIApp = self.router
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return Headers(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on; say why the start is refused in one line instead of a traceback."""
        if scope["type"] == "http":
            scope["app"] = self
            return await self.outermost(scope, receive, send)

        async def briefly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = message["message"].rpartition("SystemExit: ")[2].strip()
            await send(message)

        return await super().__call__(scope, receive, briefly)

    def openapi(self) -> dict[str, Any]:
        """Tell the whole truth about headers, errors and parameters."""
        self.openapi_schema = self.openapi_schema or openapi.complete(super().openapi())
        return self.openapi_schema


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
            async with Keys(settings) as keys:
                yield {
                    "database": database,
                    "tokens": Tokens(settings, keys),
                    "origins": frozenset(settings.cors_origins),
                    "metrics": metrics,
                    "observers": [RequestLog(settings), *([metrics] if metrics else [])],
                }
            if watch:
                watch.cancel()
    except psycopg.Error as error:
        if another_serves():
            await start_again()
        raise SystemExit(f"DATABASE_URL: {' '.join(str(error).split())}") from None
    except safety.Unready as reason:
        raise SystemExit(str(reason)) from None


app = API(
    title="Tasks",
    version="1.0.0",
    description=DESCRIPTION,
    lifespan=lifespan,
    redirect_slashes=False,
    routes=[*tasks.router.routes, *health.router.routes],  # include_router would match each request twice
)


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
        proxy_headers=False,  # nobody asks where a client is
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it again when it is done
    with suppress(KeyboardInterrupt):
        sys.exit(several(config, settings) if config.workers > 1 else one(config))


if __name__ == "__main__":
    serve()
