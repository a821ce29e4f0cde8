"""The application, put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any

import psycopg
from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import health, openapi, tasks
from app.api.edge import EdgeMiddleware
from app.identity.keys import Keys
from app.identity.tokens import Tokens
from app.postgres import safety
from app.postgres.database import Database
from app.settings import Settings, load

DESCRIPTION = """Tasks of many users, kept apart by PostgreSQL's row security.

Every task endpoint needs a bearer token whose user claim (`sub`) equals `{user_id}` in the path.
A task of another user does not exist. Errors are `application/problem+json` (RFC 9457)."""

State = dict[str, Any]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[State]]


class API(FastAPI):
    """FastAPI's routes and OpenAPI behind one wrapper, ours: its own ones serve what is not used here.

    Routes are those of app.api.routing, handlers of errors those of app.api.errors; middleware that is added
    runs within the wrapper.
    """

    @cached_property
    def stack(self) -> ASGIApp:
        """What every request passes."""
        app: ASGIApp = self.router
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return EdgeMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on; say why the start is refused in one line instead of a traceback."""
        if scope["type"] == "http":
            scope["app"] = self
            return await self.stack(scope, receive, send)

        async def send_briefly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = message["message"].rpartition("SystemExit: ")[2].strip()
            await send(message)

        return await super().__call__(scope, receive, send_briefly)

    def openapi(self) -> dict[str, Any]:
        """Tell the whole truth about headers, errors and parameters."""
        self.openapi_schema = self.openapi_schema or openapi.complete(super().openapi())
        return self.openapi_schema


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Refuse to start on a setting that is wrong or a database that is away or unsafe."""
    settings = load(Settings)
    try:
        async with Database(settings) as database, Keys(settings) as keys:
            await safety.check(database)
            await safety.check_prepared(database)
            await safety.audit(database, settings.on_hole)
            yield {
                "database": database,
                "tokens": Tokens(settings, keys),
                "origins": frozenset(settings.cors_origins),
            }
    except psycopg.Error as error:
        raise SystemExit(f"DATABASE_URL: {' '.join(str(error).split())}") from error
    except safety.Unready as reason:
        raise SystemExit(str(reason)) from None


def create_app(lifespan: Lifespan = lifespan, routes: Sequence[BaseRoute] = ()) -> API:
    """Make the application; the server adds what observes it."""
    return API(
        title="Tasks",
        version="1.0.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        # include_router would match each request twice
        routes=[*tasks.router.routes, *health.router.routes, *routes],
    )


app = create_app()
