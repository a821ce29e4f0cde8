"""A resource reads the parameters as the endpoint declares them, or cannot be created."""

import asyncio
import inspect
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from conftest import Server, on_18
from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, Header, Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from app import main
from app.api.preconditions import IfMatch
from app.api.routing import Operations, Resource, UserSession, authorize, resources
from app.postgres.database import Session
from app.problems import Problem

Members = Annotated[dict[str, str], Body()]


class Several(BaseModel, frozen=True):
    """A query model with a repeatable parameter."""

    tag: list[str] = []


class Changeable(BaseModel):
    """A mutable query model: an endpoint could change it for the next request."""

    q: str = "x"


async def scalar_query(q: Annotated[str, Query()] = "x") -> Response: ...
async def bare(q: str = "x") -> Response: ...
async def cookie(session: Annotated[str, Cookie()]) -> Response: ...
async def dependency(value: Annotated[str, Depends(lambda: "x")]) -> Response: ...
async def background(later: BackgroundTasks) -> Response: ...
async def one_line(agent: Annotated[str, Header(alias="User-Agent")]) -> Response: ...
async def header_by_name(user_agent: Annotated[list[str], Header()]) -> Response: ...
async def repeated(page: Annotated[Several, Query()]) -> Response: ...
async def changeable(page: Annotated[Changeable, Query()]) -> Response: ...
async def embedded(body: Annotated[dict[str, str], Body(embed=True)]) -> Response: ...
async def two_bodies(a: Members, b: Members) -> Response: ...
async def no_such_part(other: Annotated[int, Path()]) -> Response: ...
async def renamed(id_: Annotated[int, Path(alias="id")]) -> Response: ...
async def nobodys(tasks: UserSession) -> Response: ...
async def unauthorized(tasks: Session) -> Response: ...
async def value() -> dict[str, str]: ...
def in_a_thread() -> Response: ...


Endpoint = Callable[..., Any]
UNSOLVED = [
    scalar_query, bare, cookie, dependency, background, one_line, header_by_name, repeated,
    changeable, embedded, two_bodies, no_such_part, renamed, nobodys, unauthorized, value, in_a_thread,
]  # fmt: skip


@pytest.mark.parametrize("endpoint", UNSOLVED, ids=lambda endpoint: endpoint.__name__)
def test_creating_a_resource_with_an_unsupported_parameter_fails(endpoint: Endpoint) -> None:
    path = "/x/{id}" if endpoint is renamed else "/x"
    expected = f"{endpoint.__name__}: .*do not pass|Path param|Form data"  # FastAPI raises the last two
    with pytest.raises((TypeError, AssertionError, RuntimeError), match=expected):
        Resource(path, [APIRoute(path, endpoint)])


@pytest.mark.parametrize("option", ["dependencies", "max_body_size", "form_limits"])
def test_creating_a_resource_with_an_unsupported_option_fails(option: str) -> None:
    async def endpoint() -> Response: ...

    ignored: dict[str, Any] = {
        "dependencies": [Depends(authorize)],
        "max_body_size": 5,
        "form_limits": {"max_files": 1},
    }
    router = APIRouter()
    router.add_api_route("/x/{user_id}", endpoint, **{option: ignored[option]})
    with pytest.raises(TypeError, match=option):
        resources([router])


def test_the_parameters_of_an_endpoint_may_be_in_any_order() -> None:
    async def endpoint(
        body: Annotated[dict[str, str], Body()], request: Request, if_match: IfMatch, tasks: UserSession
    ) -> Response: ...

    operations = Operations([APIRoute("/x/{user_id}", endpoint, methods=["POST"])])
    _, read = operations.by_method["POST"]
    assert [name for name, *_ in read] == ["tasks", "request", "if_match", "body"]


def as_made_by_fastapi() -> main.API:
    """Return the app without its resources, so that FastAPI's own routes serve the requests."""
    app = main.create_app()
    app.router.routes = [route for route in app.routes if not isinstance(route, Resource)]
    return app


def as_served() -> main.API:
    return main.create_app()


def with_middleware() -> main.API:
    """Return the app with a middleware, so that requests pass FastAPI's whole middleware stack."""
    app = main.create_app()

    @app.middleware("http")
    async def stamp(request: Request, call_next: Callable[[Request], Any]) -> Any:
        answer = await call_next(request)
        answer.headers["X-Stamp"] = "seen"
        return answer

    return app


def limited() -> main.API:
    """Return an app that limits bodies in FastAPI's middleware."""
    app = main.create_app()
    app.max_body_size = 5
    return app


WAYS = [as_served, as_made_by_fastapi, with_middleware]


Use = Callable[[main.API, Callable[[httpx.AsyncClient], Awaitable[None]]], None]


@pytest.fixture
def use(server: Server, database: str, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Run an app in this process, with a client for a new user."""
    secret, alice = secrets.token_hex(32), f"alice/{secrets.token_hex(4)}"
    monkeypatch.setenv("DATABASE_URL", server.conninfo(database, "tasks_api"))
    monkeypatch.setenv("JWT_SECRET", secret)
    token = jwt.encode({"sub": alice, "exp": int(time.time()) + 600}, secret, "HS256")

    async def run(app: main.API, ask: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
            base = f"http://api/api/{quote(alice, safe='')}/"
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
                await ask(client)

    return lambda app, ask: asyncio.run(run(app, ask))


@on_18
@pytest.mark.parametrize("way", WAYS)
def test_the_endpoints_obey_the_contract_in_every_app(way: Callable[[], main.API], use: Use) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        key = {"Idempotency-Key": "k"}
        made = await client.post("tasks", json={"title": " Buy milk "}, headers=key)
        assert (made.status_code, made.json()["title"], made.headers["ETag"]) == (201, "Buy milk", '"1"')
        again = await client.post("tasks", content=b'{"title": "Buy milk"}', headers=key)
        assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
        one = f"tasks/{made.json()['id']}"
        assert (await client.get(one)).json() == made.json()
        assert (await client.get(one, headers={"If-None-Match": '"1"'})).status_code == 304
        assert (await client.put(one, json={"description": "blue"})).json()["version"] == 2
        assert (await client.patch(one, json={"title": "x"}, headers={"If-Match": '"1"'})).status_code == 412
        assert (await client.patch(f"{one}/complete")).json()["completed"] is True
        assert (await client.patch(f"{one}/complete", json={"completed": True})).json()["version"] == 3
        listed = await client.get("tasks?status=completed&limit=5")
        assert [task["version"] for task in listed.json()] == [3]
        assert (await client.get("tasks?limit=0")).json()["errors"][0]["field"] == "limit"
        assert (await client.get("tasks/x")).json()["errors"][0]["field"] == "task_id"
        assert (await client.post("tasks", json={"title": 1})).json()["errors"][0]["field"] == "title"
        assert (await client.post("tasks", content=b"{")).status_code == 400
        assert (await client.get("tasks/99")).status_code == 404
        assert (await client.get("http://api/api/bob/tasks")).status_code == 403
        refused = await client.get("tasks", headers={"Authorization": ""})
        assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/problem+json")
        assert refused.headers["X-Request-ID"]
        assert ("X-Stamp" in refused.headers) is (way is with_middleware)
        assert (await client.delete(one)).status_code == 204

    use(way(), ask)


@on_18
def test_dependencies_are_overridden_as_fastapi_documents(use: Use) -> None:
    app = main.create_app()

    def refuse() -> Session:
        raise Problem(403, "Nobody today")

    async def ask(client: httpx.AsyncClient) -> None:
        app.dependency_overrides[authorize] = refuse
        assert (await client.get("tasks")).json()["detail"] == "Nobody today"
        app.dependency_overrides.clear()
        assert (await client.get("tasks")).json() == []

    use(app, ask)


def first(app: main.API, router: APIRouter) -> None:
    """Add the endpoints as resources before all other routes, so that they skip FastAPI's middleware."""
    app.router.routes[:0] = resources([router])


def between(app: main.API, router: APIRouter) -> None:
    """Add the endpoints as resources after other routes."""
    app.router.routes += resources([router])


def without_resources(app: main.API, router: APIRouter) -> None:
    app.router.routes += router.routes


@on_18
@pytest.mark.parametrize("add", [first, between, without_resources])
def test_exception_handlers_work_as_fastapi_documents(
    use: Use, add: Callable[[main.API, APIRouter], None]
) -> None:
    app, calls = main.create_app(), Counter[str]()
    router = APIRouter()

    @router.get("/fail")
    async def fail(request: Request) -> Response:
        calls[request.url.query] += 1
        raise {"key": KeyError, "value": ValueError}[request.url.query]

    @app.exception_handler(KeyError)
    async def of_key(_: Request, __: Exception) -> Response:
        return PlainTextResponse("no such key", 418)

    @app.exception_handler(404)
    def of_path(_: Request, __: Exception) -> Response:
        return PlainTextResponse("no such path", 404)

    add(app, router)

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.get("http://api/fail?key")).text == "no such key"
        assert (await client.get("http://api/nowhere")).text == "no such path"
        answer = await client.get("http://api/fail?value")
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
        assert calls == {"key": 1, "value": 1}

    use(app, ask)


@pytest.mark.parametrize("way", [as_served, with_middleware])
def test_a_defect_gets_a_500_and_is_raised_to_the_server(way: Callable[[], main.API]) -> None:
    app, router = way(), APIRouter()
    sent: list[Message] = []

    @router.get("/fail")
    async def fail() -> Response:
        raise ValueError

    async def send(message: Message) -> None:
        sent.append(message)

    first(app, router)
    scope = {"type": "http", "http_version": "1.0", "method": "GET", "path": "/fail", "raw_path": b"/fail"}
    with pytest.raises(ValueError):
        asyncio.run(app(scope | {"query_string": b"", "headers": []}, None, send))  # type: ignore[arg-type]  # no body
    assert [message.get("status") for message in sent] == [500, None]


@pytest.mark.parametrize(("way", "skipped"), [(as_served, True), (with_middleware, False), (limited, False)])
def test_a_request_skips_fastapis_middleware_stack_if_it_only_handles_exceptions(
    way: Callable[[], main.API], skipped: bool
) -> None:
    app, router = way(), APIRouter()

    @router.get("/modules")
    async def modules() -> Response:
        return PlainTextResponse(" ".join(frame.frame.f_globals["__name__"] for frame in inspect.stack()))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            assert ("starlette.middleware" in (await client.get("/modules")).text) is not skipped

    first(app, router)
    asyncio.run(ask())


def test_a_route_before_the_resources_is_served_first(use: Use) -> None:
    app = main.create_app()

    async def fixed(_: Request) -> Response:
        return PlainTextResponse("fixed")

    app.router.routes.insert(0, Route("/api/{user}/tasks", fixed))

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.get("tasks")).text == "fixed"

    use(app, ask)
