"""Whether the process lives, and whether it should get requests."""

import asyncio
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.answers import documented, problems
from app.api.routing import Route
from app.api.statements import (
    CHANGE_TASK,
    COUNT_TASKS,
    CREATE_TASK,
    CREATE_TASK_ONCE,
    DELETE_TASK,
    GET_TASK,
    TOGGLE_TASK,
)
from app.postgres import Unready, safety
from app.postgres.database import Database
from app.problems import Problem

STATEMENTS = (GET_TASK, COUNT_TASKS, CREATE_TASK, CREATE_TASK_ONCE, CHANGE_TASK, TOGGLE_TASK, DELETE_TASK)
MAX_AGE = 1  # seconds for which an answer is given again
# Balancers ask less often than this within that time: a client that asks without a pause is given one.
MAX_ASKED = 10
PAUSE = 0.5  # seconds, which no balancer takes for an outage

Status = dict[str, str]
OPEN: dict[str, Any] = {"security": []}

router = APIRouter(tags=["health"], route_class=Route)


class Readiness:
    """One check of the database at a time, its answer shared: however many ask, they take one connection."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.checking: asyncio.Task[Exception | None] | None = None
        self.fresh_until = 0.0
        self.asked = 0

    async def check(self) -> None:
        """Raise what the check under way finds, or a fresh one has found."""
        self.asked += 1
        if self.asked > MAX_ASKED:
            await asyncio.sleep(PAUSE)
        stale = asyncio.get_running_loop().time() > self.fresh_until
        if self.checking is None or (self.checking.done() and stale):
            self.checking, self.asked = asyncio.create_task(self._check()), 1
        if found := await asyncio.shield(self.checking):
            raise found.with_traceback(None)  # else it would grow with each request

    async def _check(self) -> Exception | None:
        try:
            await safety.check(self.database)
            await safety.check_statements(self.database, STATEMENTS)
        except Unready as reason:
            return Problem(503, str(reason), {"Retry-After": "5"})
        except psycopg.Error as error:
            return error
        finally:
            self.fresh_until = asyncio.get_running_loop().time() + MAX_AGE
        return None


@router.get(
    "/health",
    operation_id="get_health",
    summary="Does the process live?",
    response_model=Status,
    responses=documented(200, "It lives."),
    openapi_extra=OPEN,
)
async def health(request: Request) -> Response:
    """Asks neither the database nor for a token."""
    return JSONResponse({"status": "healthy", "version": request.app.version})


@router.get(
    "/ready",
    operation_id="get_ready",
    summary="Should it get requests?",
    response_model=Status,
    responses=documented(200, "It should.") | problems(503),
    openapi_extra=OPEN,
)
async def ready(request: Request) -> Response:
    """Asks whether the database answers, is migrated, keeps row security active, and grants what is needed.

    At most once a second; in between, the last answer is given again. It writes nothing, so that a full
    disk is only noticed where a request writes.
    """
    await request.state.readiness.check()
    return JSONResponse({"status": "ready"})
