"""How a request reaches its endpoint, and in whose name."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.auth import Bearer
from app.database import Session

bearer = Bearer()
Tasks = Annotated[Session, Security(bearer)]


class TaskRoute(APIRoute):
    """Hands an endpoint its session itself: FastAPI's solver of any dependencies costs as much again."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make what runs for a request."""
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request, await bearer(request))
            return response

        return handle
