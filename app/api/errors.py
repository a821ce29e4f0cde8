"""Exception handlers: each error becomes a problem. One table maps SQLSTATEs to the `detail` of a 503."""

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import psycopg
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from app.api import schemas
from app.api.state import exchange_of
from app.identity import Refused
from app.postgres.connection import NoConnection
from app.postgres.deadline import ClientGone
from app.problems import Invalid, Problem, from_pydantic

log = logging.getLogger("uvicorn.error")

DEFECT = 500
POOL_REFUSED = "pool"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

BUSY = "Too many requests are waiting for the database; try again"
UNREACHABLE = "No connection to the database can be made at the moment; try again"
LOST = "The connection to the database broke; try again"
READ_ONLY = "The database is read-only at the moment; try again"
EXHAUSTED = "The database is out of disk space, memory or connections; try again"
AWAY = "The database is stopping or starting; try again"
FAILING = "The database failed; try again"
SLOW = "The database took too long; try again"
CONFLICT = "Concurrent requests conflicted in the database; try again"
STOPPING = "The service is restarting; try again"
UNFIT = "The database is not in the state that this service needs"

# The detail of a 503 by SQLSTATE or class (PostgreSQL, appendix A). Any other SQLSTATE is a defect and a 500.
DETAILS = {
    # closed port, login refused, no such database; a NoConnection gets this detail whatever its SQLSTATE is
    UNREACHABLE: ("08001", "08004", "28", "3D", "55000"),
    LOST: ("08",),
    READ_ONLY: ("25006",),
    EXHAUSTED: ("53", "53100", "53200", "53300"),
    # ended by an administrator, a crash or an idle limit; starting up; database dropped
    AWAY: ("57", "57P01", "57P02", "57P03", "57P04", "57P05"),
    # I/O errors, internal errors, corrupted data or indexes
    FAILING: ("58", "58030", "XX", "XX001", "XX002"),
    # time limits: idle in transaction, transaction, lock, statement
    SLOW: ("25P03", "25P04", "55P03", "57014"),
    # serialization failures, deadlocks
    CONFLICT: ("40", "40001", "40P01"),
    # A schema, table, column, function or privilege is missing, or a column has another type. Behind a
    # pooler: a prepared statement does not exist, or exists already.
    UNFIT: ("3F", "42P01", "42703", "42883", "42501", "0A000", "26000", "42P05"),
}
SQLSTATES = {state: detail for detail, states in DETAILS.items() for state in states}

# The field and its rule, by the prefix of the constraint's name.
RULES = schemas.RULES | {
    "idempotency_keys_key_": ("Idempotency-Key", "must have 1 to 255 printable ASCII characters"),
}


async def _on_problem(_: Request, error: Problem) -> Response:
    return error.response()


async def _on_refused(request: Request, error: Refused) -> Response:
    exchange_of(request.scope).refused = error.reason  # for the log and the metrics
    return error.response()


async def _on_database_error(request: Request, error: psycopg.Error) -> Response:
    """Respond with 422 for a violated constraint and with 503 for a known SQLSTATE. Log the SQLSTATE.

    Any other error is a defect and is raised again. Starlette calls the handler twice in this case, once
    around the endpoint and once around the router.
    """
    state = error.sqlstate or ("08006" if isinstance(error, psycopg.OperationalError) else "")
    rule = _violated_rule(error)
    if rule:
        return Invalid(rule).response()
    busy = isinstance(error, PoolTimeout)
    exchange = exchange_of(request.scope)
    if exchange.failure is None:
        log.warning("request %s: %s %s", exchange.request_id, type(error).__name__, state)
    exchange.failure = POOL_REFUSED if busy else state  # for the metrics
    detail = SQLSTATES.get(state) or SQLSTATES.get(state[:2])
    if isinstance(error, NoConnection):
        detail = UNREACHABLE
    elif busy:
        detail = BUSY
    if not detail:
        raise error
    return Problem(503, detail, {"Retry-After": "1"}).response()


def _violated_rule(error: psycopg.Error) -> tuple[str, str] | None:
    """Return the field and the rule of a violated constraint. Citus names it only in the message."""
    text = error.diag.constraint_name or ""
    if not text and isinstance(error, psycopg.errors.CheckViolation):
        text = error.diag.message_primary or ""
    return next((rule for prefix, rule in RULES.items() if prefix in text), None)


async def _on_invalid_request(_: Request, error: RequestValidationError) -> Response:
    """Return the errors of FastAPI's dependency solver as a problem."""
    errors = error.errors()
    if any(e["type"] == "json_invalid" for e in errors):
        return Problem(400, "The body must be JSON in UTF-8").response()
    return from_pydantic(errors, "body").response()


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    """Return an error of Starlette, such as 404 or 405, as a problem."""
    headers = dict(error.headers or {})
    if "Allow" in headers:  # Starlette lists only the methods of the first route that matches the path
        headers["Allow"] = ", ".join(filter(partial(_serves, request), METHODS))
    detail = "Path not found" if error.detail == "Not Found" else error.detail  # from Starlette's router
    return Problem(error.status_code, detail, headers).response()


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _on_disconnect(_: Request, __: ClientDisconnect | ClientGone) -> Response:
    return Problem(499, "The client disconnected").response()  # seen only in the log and the metrics


async def _on_defect(_: Request, __: Exception) -> Response:
    return Problem(DEFECT, "An internal error occurred; the request id identifies it in the log").response()


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Problem: _on_problem,
    Refused: _on_refused,
    psycopg.Error: _on_database_error,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_exception,
    ClientDisconnect: _on_disconnect,  # while the body is read
    ClientGone: _on_disconnect,  # while waiting for the database
    Exception: _on_defect,
}
