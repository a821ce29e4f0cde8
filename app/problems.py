"""Every error is application/problem+json (RFC 9457); what the database refuses is told from one table."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

log = logging.getLogger("uvicorn.error")

# Not HTTPStatus.phrase: it differs between versions of Python.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

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


class Problem(Exception):
    """An answer other than the one hoped for."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}
        self.errors: Sequence[Mapping[str, str]] = ()


class Invalid(Problem):
    """Valid JSON, or HTTP, with invalid values: pairs of a field and what is wrong with it."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        super().__init__(422, "; ".join(f"{field}: {message}" for field, message in fields))
        self.errors = [{"field": field, "message": message} for field, message in fields]


def invalid(error: ValidationError | RequestValidationError, whole: str = "body") -> Invalid:
    """Name the fields that Pydantic refused, or the `whole`."""
    return Invalid(
        *(
            (str(e["loc"][-1]) if e["loc"] else whole, e["msg"].removeprefix("Value error, "))
            for e in error.errors()
        )
    )


async def on_problem(_: Request, problem: Problem) -> Response:
    """Render a problem."""
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES.get(problem.status, "Error")}
    body |= {"status": problem.status, "detail": problem.detail}
    if problem.errors:
        body["errors"] = problem.errors
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(json.dumps(body), problem.status, headers, "application/problem+json")


async def on_database_error(request: Request, error: psycopg.Error) -> Response:
    """Say in the contract's words what the database refused; its own stay in the log."""
    state = error.sqlstate or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    rule = RULES.get(error.diag.constraint_name or state)
    if rule:
        return await on_problem(request, Invalid(rule))
    busy = isinstance(error, PoolTimeout | TooManyRequests)
    if request.state.metrics:
        request.state.metrics.fail(state, busy)
    log.warning("request %s: %s %s", request.state.request_id, type(error).__name__, state)
    detail = BUSY if busy else SQLSTATES.get(state) or SQLSTATES.get(state[:2])
    if not detail:
        raise error
    return await on_problem(request, Problem(503, detail, {"Retry-After": "1"}))


async def on_http_error(request: Request, error: HTTPException) -> Response:
    """Put the framework's own errors, no such path or method, in the same form."""
    headers = dict(error.headers or {})
    if "Allow" in headers:  # where several routes share a path, Starlette names the first one's methods
        headers["Allow"] = ", ".join(filter(partial(_serves, request), METHODS))
    detail = "Path not found" if error.status_code == 404 else error.detail  # noqa: PLR2004
    return await on_problem(request, Problem(error.status_code, detail, headers))


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def on_defect(request: Request, _: Exception) -> Response:
    """Answer a defect; the server logs it."""
    return await on_problem(request, Problem(500, "Something went wrong; the request id names it in the log"))


async def on_disconnect(_: Request, __: Exception) -> Response:
    """The client went away while it was sending or waiting: nobody reads this but the log."""
    return Response(status_code=499)


def install(app: FastAPI) -> None:
    """Let every error of the application leave in this form."""
    app.exception_handlers |= {
        Problem: on_problem,
        psycopg.Error: on_database_error,
        HTTPException: on_http_error,
        ClientDisconnect: on_disconnect,
        Exception: on_defect,
    }
