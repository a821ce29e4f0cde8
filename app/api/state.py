"""What requests share, and what one request carries: the typed contents of ASGI's `scope["state"]`.

ASGI servers copy the dictionary that the lifespan yields into the scope of each request. Its entries are what
main.lifespan makes, the client, if the server's protocol gives one, and the exchange, which EdgeMiddleware
begins. They are read from the scope: `request.state` makes an object for each request.
"""

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from typing import NamedTuple, NotRequired, TypedDict

from starlette.types import Scope

from app.identity.tokens import Tokens
from app.postgres.database import Database
from app.postgres.deadline import Client


@dataclass(slots=True)
class Exchange:
    """One request and its response, as the log and the metrics see them."""

    method: str
    request_id: str
    client: Client | None = None
    route: str = "-"  # the path of the route, its parameters by name
    user: str | None = None  # set once the token has been verified
    refused: str | None = None  # why the token was refused, one of app.identity.REASONS
    failure: str | None = None  # the SQLSTATE that was answered 503 or 500, or POOL_REFUSED


Observer = Callable[[Exchange, int, float], object]  # called with the status, and the seconds that it took


class Services(NamedTuple):
    """What main.lifespan makes once."""

    database: Database
    tokens: Tokens
    check_readiness: Callable[[], Awaitable[None]]
    origins: Container[str]
    root_path: str
    observers: tuple[Observer, ...] = ()


class State(TypedDict):
    """The entries of `scope["state"]`."""

    services: Services
    client: NotRequired[Client]
    exchange: NotRequired[Exchange]


def services_of(scope: Scope) -> Services:
    """Return what main.lifespan has made."""
    state: State = scope["state"]
    return state["services"]


def exchange_of(scope: Scope) -> Exchange:
    """Return what EdgeMiddleware has begun."""
    state: State = scope["state"]
    return state["exchange"]
