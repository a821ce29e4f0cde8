"""How a request reaches its endpoint, and in whose name."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.edge import decoded
from app.identity.bearer import Bearer
from app.postgres.database import Session
from app.problems import Problem

bearer = Bearer()
Tasks = Annotated[Session, Security(bearer)]


class Route(APIRoute):
    """Calls its endpoint itself: FastAPI's solver of any dependencies costs as much again."""

    methods: set[str]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in self.methods:
            await super().handle(scope, receive, send)
            return
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Let the endpoint answer."""
        response: Response = await self.endpoint(request)
        return response


class TaskRoute(Route):
    """Hands its endpoint the session of the user whom token and path name."""

    async def answer(self, request: Request) -> Response:
        """Let the endpoint answer."""
        response: Response = await self.endpoint(request, await authorize(request))
        return response


async def authorize(request: Request) -> Session:
    """Verify the token, then the path: before the body is read and the database is asked."""
    user = await bearer(request)
    if user != decoded(request.path_params["user_id"]):
        raise Problem(403, "Not authorized to access this user's tasks")
    request.state.user = user  # for the log
    return Session(request.state.database, user, getattr(request.state, "client", None))
