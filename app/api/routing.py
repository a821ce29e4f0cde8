"""How a request reaches its endpoint: by an ordinary FastAPI signature, solved when the route is made."""

from collections.abc import Callable
from inspect import iscoroutinefunction, signature
from typing import Annotated, Any

from fastapi import Path, Request, Security
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute, request_response
from pydantic import BeforeValidator
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from app.api.edge import decoded
from app.api.parameters import Reader, readers
from app.identity.bearer import Bearer
from app.postgres.database import Session
from app.problems import Problem

# Options that only FastAPI's own handling of a request honours.
UNSUPPORTED = {"dependencies", "max_body_size", "form_limits"}

bearer = Bearer()
# The lengths are for the document: a path that the token does not name is 403, however long.
IN_PATH = Path(
    description="The user whom the token names.", json_schema_extra={"minLength": 1, "maxLength": 255}
)
UserId = Annotated[str, BeforeValidator(decoded), IN_PATH]


async def authorize(request: Request, user_id: UserId, user: Annotated[str, Security(bearer)]) -> Session:
    """Return the session of the user whom both token and path name; raise Problem 403 for another path."""
    if user != user_id:
        raise Problem(403, "Not authorized to access this user's tasks")
    state = request.state
    state.user = user  # for the log
    return Session(state.database, user, getattr(state, "client", None))


UserTasks = Annotated[Session, Security(authorize)]


class Route(APIRoute):
    """FastAPI's route with a solver of its own for the kinds of parameters in app.api.parameters.

    It verifies the token first and reads the body last, at a tenth of the cost of FastAPI's. Any other kind
    of parameter, and any option that it would ignore, raises TypeError when the route is made. FastAPI's own
    solver takes over where the router is included in another one, and where dependencies are overridden.
    """

    methods: set[str]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        try:
            self.readers = _readers(path, endpoint, options)
        except TypeError as error:
            raise TypeError(f"{endpoint.__qualname__}: {error}; use fastapi.routing.APIRoute") from None
        super().__init__(path, endpoint, **options)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in self.methods or "fastapi" in scope:
            await super().handle(scope, receive, send)
            return
        if scope["app"].dependency_overrides:
            self.dependency_overrides_provider = scope["app"]
            solved_by_fastapi = request_response(self.get_route_handler())
            await AsyncExitStackMiddleware(solved_by_fastapi)(scope, receive, send)
            return
        request = Request(scope, receive, send)
        arguments = {}
        for name, read in self.readers:
            arguments[name] = await read(request)
        response: Response = await self.endpoint(**arguments)
        await response(scope, receive, send)


def _readers(path: str, endpoint: Callable[..., Any], options: dict[str, Any]) -> list[tuple[str, Reader]]:
    if unsupported := sorted(name for name in UNSUPPORTED if options.get(name)):
        raise TypeError(f"its route would ignore {', '.join(unsupported)}")
    declared = signature(endpoint, eval_str=True)
    answer = declared.return_annotation
    if not (iscoroutinefunction(endpoint) and isinstance(answer, type) and issubclass(answer, Response)):
        raise TypeError("it is not declared as `async def … -> Response`")
    _, _, in_path = compile_path(path)
    dependencies = {authorize: _read_session} if "user_id" in in_path else {}
    return readers(declared.parameters.values(), in_path, dependencies)


async def _read_session(request: Request) -> Session:
    return await authorize(request, decoded(request.path_params["user_id"]), await bearer(request))
