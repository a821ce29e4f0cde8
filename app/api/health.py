"""Whether the process lives, and whether it should get requests."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.answers import answer, problems
from app.api.routing import Route
from app.postgres import safety
from app.problems import Problem

Status = dict[str, str]

router = APIRouter(tags=["health"], route_class=Route)


@router.get(
    "/health",
    operation_id="get_health",
    summary="Does the process live?",
    response_model=Status,
    responses=answer(200, "It lives."),
)
async def health() -> Response:
    """Asks neither the database nor for a token."""
    return JSONResponse({"status": "healthy"})


@router.get(
    "/ready",
    operation_id="get_ready",
    summary="Should it get requests?",
    response_model=Status,
    responses=answer(200, "It should.") | problems(503),
)
async def ready(request: Request) -> Response:
    """Asks whether the database answers, is migrated, and keeps row security active for this API."""
    try:
        await safety.check(request.state.database)
    except safety.Unready as reason:
        raise Problem(503, str(reason), {"Retry-After": "5"}) from None
    return JSONResponse({"status": "ready"})
