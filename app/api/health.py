"""Liveness (/health) and readiness (/ready)."""

import asyncio
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.responses import documented, problems
from app.api.state import services_of
from app.api.statements import (
    CHANGE_TASK,
    COUNT_TASKS,
    CREATE_TASK,
    CREATE_TASK_ONCE,
    DELETE_TASK,
    GET_TASK,
    TOGGLE_TASK,
)
from app.postgres import NotReady, safety
from app.postgres.database import Database
from app.problems import Problem

STATEMENTS = (
    GET_TASK,
    COUNT_TASKS,
    CREATE_TASK,
    CREATE_TASK_ONCE,
    CHANGE_TASK.if_match,
    TOGGLE_TASK.if_match,
    DELETE_TASK.if_match,
)
MAX_AGE = 1  # seconds for which the result of a check is used again
# Requests beyond this number within MAX_AGE seconds are delayed by PAUSE. Load balancers send fewer requests.
MAX_ASKED = 10
PAUSE = 0.5  # seconds; shorter than the time limits of load balancers

Status = dict[str, str]
OPEN: dict[str, Any] = {"security": []}

router = APIRouter(tags=["health"])


class Readiness:
    """Runs one check of the database at a time. Concurrent requests share its result and one connection."""

    def __init__(self, database: Database, on_hole: str = "refuse") -> None:
        self.database, self.on_hole = database, on_hole
        self.checking: asyncio.Task[Exception | None] | None = None
        self.fresh_until = 0.0
        self.asked = 0

    async def check(self) -> None:
        """Raise the error of the running check, or of the last one if it is not older than MAX_AGE."""
        self.asked += 1
        if self.asked > MAX_ASKED:
            await asyncio.sleep(PAUSE)
        stale = asyncio.get_running_loop().time() > self.fresh_until
        if self.checking is None or (self.checking.done() and stale):
            self.checking, self.asked = asyncio.create_task(self._check()), 1
        if found := await asyncio.shield(self.checking):
            raise found.with_traceback(None)  # otherwise the traceback would grow with each request

    async def _check(self) -> Exception | None:
        try:
            await safety.check(self.database)
            await safety.check_statements(self.database, STATEMENTS)
            await safety.audit_workers(self.database, self.on_hole)
        except NotReady as reason:
            return Problem(503, str(reason), {"Retry-After": "5"})
        except psycopg.Error as error:
            return error
        finally:
            self.fresh_until = asyncio.get_running_loop().time() + MAX_AGE
        return None


@router.get(
    "/health",
    operation_id="get_health",
    summary="Liveness",
    response_model=Status,
    responses=documented(200, "The process is alive."),
    openapi_extra=OPEN,
)
async def health(request: Request) -> Response:
    """Returns 200 while the process serves requests. It does not use the database, and needs no token."""
    return JSONResponse({"status": "healthy", "version": request.app.version})


@router.get(
    "/ready",
    operation_id="get_ready",
    summary="Readiness",
    response_model=Status,
    responses=documented(200, "The process is ready for requests.") | problems(503),
    openapi_extra=OPEN,
)
async def ready(request: Request) -> Response:
    """Checks that the database is reachable and migrated, and that row security and grants are correct.

    The check runs at most once a second; the result is used for all requests in between. It writes nothing,
    so it does not notice a full disk.
    """
    await services_of(request.scope).check_readiness()
    return JSONResponse({"status": "ready"})
