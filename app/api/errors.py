"""Which problem each error is: the exception handlers, and one table of what the database refuses."""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import psycopg
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from app.api import schemas
from app.problems import Invalid, Problem, invalid

log = logging.getLogger("uvicorn.error")

DEFECT = 500
POOL_REFUSED = "pool"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

AWAY = "The database is not available at the moment; try again"
BUSY = "Too many requests are waiting for the database; try again"
SLOW = "The database took too long; try again"
STOPPING = "The service is restarting; try again"
UNFIT = "The database is not in the state that this service needs"

# The detail of a 503 for each SQLSTATE or class of them (PostgreSQL, appendix A); any other is a defect: 500.
REFUSALS = {
    # broken, read-only, no login, no such database, out of connections or disk, stopping or starting, failing
    AWAY: ("08", "25006", "28", "3D", "53", "57", "58", "XX"),
    # idle in a transaction, deadlock, a lock or a statement over the role's limit
    SLOW: ("25P03", "40", "55P03", "57014"),
    # a schema, table, column, function or privilege is missing, a column has another type, and what a pooler
    # makes of prepared statements: gone, or there already
    UNFIT: ("3F", "42P01", "42703", "42883", "42501", "0A000", "26000", "42P05"),
}
SQLSTATES = {state: detail for detail, states in REFUSALS.items() for state in states}

# The field at fault and its rule, by what the constraint's name begins with.
RULES = schemas.RULES | {
    "idempotency_keys_key_": ("Idempotency-Key", "must have 1 to 255 printable ASCII characters"),
}


async def respond_to(request: Request, error: BaseException) -> Response:
    """Answer what was raised, by the application's exception handlers as Starlette looks them up."""
    if isinstance(error, CancelledError):
        return Problem(503, STOPPING, {"Retry-After": "1"}).response()
    handlers = request.app.exception_handlers
    handler = handlers.get(error.status_code) if isinstance(error, HTTPException) else None
    handler = handler or next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    if iscoroutinefunction(handler):
        answered = await handler(request, error)
    else:
        answered = await run_in_threadpool(handler, request, error)
    response: Response = answered
    return response


async def _on_problem(_: Request, error: Problem) -> Response:
    return error.response()


async def _on_database_error(request: Request, error: psycopg.Error) -> Response:
    """Say in the contract's words what the database refused; its own stay in the log."""
    state = error.sqlstate or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    rule = _violated_rule(error)
    if rule:
        return Invalid(rule).response()
    busy = isinstance(error, PoolTimeout)
    request.state.failure = POOL_REFUSED if busy else state  # for the metrics
    log.warning("request %s: %s %s", request.state.request_id, type(error).__name__, state)
    detail = BUSY if busy else SQLSTATES.get(state) or SQLSTATES.get(state[:2])
    return (
        Problem(503, detail, {"Retry-After": "1"}).response() if detail else await _on_defect(request, error)
    )


def _violated_rule(error: psycopg.Error) -> tuple[str, str] | None:
    """Return a violated constraint's field and rule; from Citus its name comes in the message alone."""
    said = error.diag.constraint_name or ""
    if not said and isinstance(error, psycopg.errors.CheckViolation):
        said = error.diag.message_primary or ""
    return next((rule for start, rule in RULES.items() if start in said), None)


async def _on_invalid_request(_: Request, error: RequestValidationError) -> Response:
    """Put what FastAPI's own solver refuses in the same form."""
    errors = error.errors()
    if any(e["type"] == "json_invalid" for e in errors):
        return Problem(400, "The body must be JSON in UTF-8").response()
    return invalid(errors, "body").response()


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    """Put the framework's own errors, no such path or method, in the same form."""
    headers = dict(error.headers or {})
    if "Allow" in headers:  # where several routes share a path, Starlette names the first one's methods
        headers["Allow"] = ", ".join(filter(partial(_serves, request), METHODS))
    detail = "Path not found" if error.detail == "Not Found" else error.detail  # as Starlette's router says
    return Problem(error.status_code, detail, headers).response()


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    return Problem(499, "The client went away").response()  # which only the log hears


async def _on_defect(_: Request, __: Exception) -> Response:
    return Problem(DEFECT, "Something went wrong; the request id names it in the log").response()


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Problem: _on_problem,
    psycopg.Error: _on_database_error,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_exception,
    ClientDisconnect: _on_disconnect,
    Exception: _on_defect,
}
