"""The FastAPI application: its routes, error handlers, middleware and lifespan."""

import json
import os
import sys
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any

import psycopg
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.api import docs, health, tasks
from app.api.edge import EdgeMiddleware, Origins
from app.api.errors import HANDLERS
from app.api.responses import as_problem_json
from app.api.routing import Operations, Resource, resources
from app.api.state import Services, State
from app.identity.keys import Keys
from app.identity.tokens import Tokens
from app.postgres import NotReady, safety
from app.postgres.database import Database
from app.settings import Settings, load

DESCRIPTION = """Tasks of many users, isolated by PostgreSQL's row security.

Every task endpoint needs a bearer token whose user claim (`sub`) equals `{user_id}` in the path.
The response for a task of another user is 404. Errors are `application/problem+json` (RFC 9457)."""

ROUTERS = (tasks.router, health.router)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[State]]


class ResourceMiddleware:
    """Serves resources outside of FastAPI's middleware stack, which costs a tenth of the CPU of a GET.

    All other requests pass through the stack. If an operation raises an exception, its request then passes
    through the stack, too. There the resource only raises the exception again. So exception handlers, the log
    and Sentry work as without this middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        operations = _operations_for(scope) if scope["type"] == "http" else None
        if operations is None:
            return await self.app(scope, receive, send)
        try:
            operation = await operations.call(scope, receive)
            response = await operation
        except Exception as error:  # noqa: BLE001 - it is raised again
            scope["raised"] = error
            return await self.app(scope, receive, send)
        return await response(scope, receive, send)


def _operations_for(scope: Scope) -> Operations | None:
    """Return the operations of the first route that matches a request, if it is a resource.

    Add the match to the scope, as Starlette's router does.
    """
    for route in scope["app"].routes:
        if not isinstance(route, Resource):
            break
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            scope.update(child_scope)
            return route.operations
    return None


class API(FastAPI):
    """FastAPI with EdgeMiddleware and ResourceMiddleware around its own middleware stack."""

    def build_middleware_stack(self) -> ASGIApp:
        """Put EdgeMiddleware outermost. add_middleware() would put it inside ServerErrorMiddleware.

        All requests pass through FastAPI's stack if it does more than handle exceptions.
        """
        stack = super().build_middleware_stack()
        if not (self.user_middleware or self.max_body_size or telemetry()["tracing"]):
            stack = ResourceMiddleware(stack)
        return EdgeMiddleware(stack)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application (ASGI). If startup fails, report the reason instead of a traceback."""
        if scope["type"] != "lifespan":
            return await super().__call__(scope, receive, send)

        async def send_with_reason(message: Message) -> None:
            error = sys.exception()  # Starlette sends a failure while it handles the exception
            # SystemExit: a check at startup failed. CancelledError: a second Ctrl-C cancels the shutdown.
            if message["type"].endswith(".failed") and isinstance(error, SystemExit | CancelledError):
                message["message"] = str(error)
            await send(message)

        return await super().__call__(scope, receive, send_with_reason)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. It is generated once. Its errors have the media type of problems."""
        self.openapi_schema = self.openapi_schema or as_problem_json(super().openapi())
        return self.openapi_schema

    @cached_property
    def openapi_json(self) -> bytes:
        """The OpenAPI document as JSON. FastAPI's own route would serialize it for each request, in 2 ms."""
        return json.dumps(self.openapi()).encode()


async def get_document(request: Request) -> Response:
    """Serve the OpenAPI document."""
    return Response(request.app.openapi_json, media_type="application/json")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Create the services. Refuse to start if a setting is wrong or the database is unreachable or unsafe."""
    settings = load(Settings)
    try:
        async with Database(settings) as database, Keys(settings) as keys:
            await check_database(database, settings)
            app.routes.extend(docs.routes if settings.docs else ())
            app.servers = [{"url": settings.root_path or "/"}]
            services = Services(
                database,
                Tokens(settings, keys),
                health.Readiness(database, settings.on_hole).check,
                Origins(settings.cors_origins),
                settings.root_path,
            )
            yield {"services": services}
    except psycopg.Error as error:
        raise SystemExit(f"DATABASE_URL: {' '.join(str(error).split())}") from error
    except NotReady as reason:
        raise SystemExit(str(reason)) from None


async def check_database(database: Database, settings: Settings) -> None:
    """Raise NotReady or psycopg's error if the database is not ready, or if the audit finds a hole."""
    await safety.check(database)
    await safety.check_prepared(database)
    await safety.audit(database, settings.on_hole)


def telemetry() -> TelemetryConfig:
    """Return whether FastAPI creates spans and metrics: only if a variable of OpenTelemetry is set.

    Otherwise FastAPI would look for OpenTelemetry's providers in each request, which costs 5 µs. Its logs are
    off, since the messages of exceptions can contain values of users.
    """
    is_wanted = any(name.startswith(("OTEL_", "FASTAPI_OTEL_")) for name in os.environ)
    return {"tracing": is_wanted, "metrics": is_wanted, "logs": False}


def create_app(lifespan: Lifespan = lifespan) -> API:
    """Create the application. The server passes a lifespan that adds observers."""
    app = API(
        title="Tasks",
        version=__version__,
        description=DESCRIPTION,
        contact={"name": "The people who run this service"},
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/"}],
        openapi_tags=[
            {"name": "tasks", "description": "One user's tasks."},
            {"name": "health", "description": "For orchestrators and load balancers."},
        ],
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        exception_handlers=HANDLERS,
        telemetry=telemetry(),
        routes=[*resources(ROUTERS), Route("/openapi.json", get_document, include_in_schema=False)],
    )
    # Set a prefix or dependencies in the router: resources() does not see those of API() or include_router().
    for router in ROUTERS:
        app.include_router(router)
    return app


app = create_app()
