"""Which problem each error is; what the database refuses is told from one table."""

import logging
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Match

from app.problems import Invalid, Problem

log = logging.getLogger("uvicorn.error")

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

# The constraint, or the SQLSTATE, to the field and what it must be.
RULES = {
    "tasks_title_length": ("title", "must have 1 to 200 characters, white space at its ends aside"),
    "tasks_description_length": ("description", "must have at most 1000 characters"),
    "idempotency_keys_key_format": ("Idempotency-Key", "must have 1 to 255 printable ASCII characters"),
    "22007": ("cursor", "was not issued for this ordering"),
    "22008": ("cursor", "was not issued for this ordering"),
}


def problem(request: Request, error: BaseException) -> Problem:
    """Return the problem that an error is: of status 500 where it is a defect."""
    kind = next(kind for kind in type(error).__mro__ if kind in KINDS)
    return KINDS[kind](request, error)


def _of_database(request: Request, error: psycopg.Error) -> Problem:
    """Say in the contract's words what the database refused; its own stay in the log."""
    state = error.sqlstate or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    rule = RULES.get(error.diag.constraint_name or state)
    if rule:
        return Invalid(rule)
    busy = isinstance(error, PoolTimeout | TooManyRequests)
    request.state.failure = POOL_REFUSED if busy else state  # for the metrics
    log.warning("request %s: %s %s", request.state.request_id, type(error).__name__, state)
    detail = BUSY if busy else SQLSTATES.get(state) or SQLSTATES.get(state[:2])
    return Problem(503, detail, {"Retry-After": "1"}) if detail else _defect(request, error)


def _of_framework(request: Request, error: HTTPException) -> Problem:
    """Put the framework's own errors, no such path or method, in the same form."""
    headers = dict(error.headers or {})
    if "Allow" in headers:  # where several routes share a path, Starlette names the first one's methods
        headers["Allow"] = ", ".join(filter(partial(_serves, request), METHODS))
    detail = "Path not found" if error.status_code == 404 else error.detail  # noqa: PLR2004
    return Problem(error.status_code, detail, headers)


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def _defect(_: Request, __: Exception) -> Problem:
    return Problem(500, "Something went wrong; the request id names it in the log")


KINDS: dict[type[BaseException], Callable[[Request, Any], Problem]] = {
    Problem: lambda _, error: error,
    psycopg.Error: _of_database,
    HTTPException: _of_framework,
    ClientDisconnect: lambda _, __: Problem(499, "The client went away"),  # which only the log hears
    CancelledError: lambda _, __: Problem(503, STOPPING, {"Retry-After": "1"}),
    Exception: _defect,
}
