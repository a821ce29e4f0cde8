"""The application, put together."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any

import psycopg
import starlette.routing
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.api import docs, health, tasks
from app.api.answers import as_problem_json
from app.api.edge import EdgeMiddleware, Origins
from app.api.errors import HANDLERS
from app.api.routing import Route
from app.identity.keys import Keys
from app.identity.tokens import Tokens
from app.postgres import Unready, safety
from app.postgres.database import Database
from app.settings import Settings, load

DESCRIPTION = """Tasks of many users, kept apart by PostgreSQL's row security.

Every task endpoint needs a bearer token whose user claim (`sub`) equals `{user_id}` in the path.
A task of another user does not exist. Errors are `application/problem+json` (RFC 9457)."""

# FastAPI's OpenTelemetry: to ask whether it is configured takes 5 µs of every request.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}

State = dict[str, Any]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[State]]


class API(FastAPI):
    """FastAPI behind EdgeMiddleware.

    A request for a Route passes nothing else on its way to it. Where middleware or other kinds of routes are
    added, all requests pass FastAPI's whole stack inside EdgeMiddleware. Exception handlers count either way.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Put EdgeMiddleware around the router, or around FastAPI's stack where it is needed."""
        needs_no_stack = all(type(route) in {Route, starlette.routing.Route} for route in self.routes)
        return EdgeMiddleware(
            self.router if needs_no_stack and not self.user_middleware else super().build_middleware_stack()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say why the start is refused in one line; at the start and at a second Ctrl-C, no traceback."""

        async def send_briefly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = message["message"].rpartition("SystemExit: ")[2].strip()
            elif message.get("message", "").rstrip().endswith("CancelledError"):
                message["message"] = ""  # a second Ctrl-C, which waits for nothing
            await send(message)

        await super().__call__(scope, receive, send_briefly if scope["type"] == "lifespan" else send)

    def openapi(self) -> dict[str, Any]:
        """Write the document once, with problems of their media type."""
        self.openapi_schema = self.openapi_schema or as_problem_json(super().openapi())
        return self.openapi_schema

    @cached_property
    def document(self) -> bytes:
        """The document as JSON: FastAPI's own route would write it for each request, in 2 ms."""
        return json.dumps(self.openapi()).encode()


async def get_document(request: Request) -> Response:
    """Serve the OpenAPI document."""
    return Response(request.app.document, media_type="application/json")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Refuse to start on a setting that is wrong or a database that is away or unsafe."""
    settings = load(Settings)
    try:
        async with Database(settings) as database, Keys(settings) as keys:
            await check_database(database, settings)
            app.routes.extend(docs.routes if settings.docs else ())
            app.servers = [{"url": settings.root_path or "/"}]
            yield {
                "database": database,
                "readiness": health.Readiness(database),
                "tokens": Tokens(settings, keys),
                "origins": Origins(settings.cors_origins),
                "root_path": settings.root_path,
            }
    except psycopg.Error as error:
        raise SystemExit(f"DATABASE_URL: {' '.join(str(error).split())}") from error
    except Unready as reason:
        raise SystemExit(str(reason)) from None


async def check_database(database: Database, settings: Settings) -> None:
    """Raise Unready or psycopg's error if the database is not what the API needs, or has a hole."""
    await safety.check(database)
    await safety.check_prepared(database)
    await safety.audit(database, settings.on_hole)


def create_app(lifespan: Lifespan = lifespan) -> API:
    """Make the application; the server adds what observes it."""
    return API(
        title="Tasks",
        version=__version__,
        description=DESCRIPTION,
        contact={"name": "The people who run this service"},
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/"}],
        openapi_tags=[
            {"name": "tasks", "description": "One user's tasks."},
            {"name": "health", "description": "What an orchestrator and a load balancer ask."},
        ],
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        exception_handlers=HANDLERS,
        telemetry=NO_TELEMETRY,
        # include_router would match each request twice
        routes=[
            *tasks.router.routes,
            *health.router.routes,
            starlette.routing.Route("/openapi.json", get_document, include_in_schema=False),
        ],
    )


app = create_app()
