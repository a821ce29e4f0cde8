"""The typed contents of ASGI's `scope["state"]`: objects that requests share, and data of one request.

An ASGI server copies the dictionary that the lifespan yields into the scope of each request. main.lifespan
creates the entry `services`, and EdgeMiddleware adds `exchange`. app/server/protocol.py adds `client`, which
is missing under other servers. The entries are read from the scope directly, since `request.state` would
create an object per request.
"""

from collections.abc import Awaitable, Callable, Container, Mapping
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
    fields: Mapping[bytes, bytes]  # the header fields of the request; the last line of a repeated one
    client: Client | None = None
    status: int = 0  # that of the response, once it has begun
    route: str = "-"  # the path template of the route
    user: str | None = None  # set once the token has been verified
    refused: str | None = None  # why the token was refused, a Reason of app.identity
    failure: str | None = None  # the SQLSTATE of a database error, or POOL_REFUSED


Observer = Callable[[Exchange, int, float], object]  # called with the exchange, the status and the seconds


class Services(NamedTuple):
    """The objects that main.lifespan creates once, and all requests share."""

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
    """Return the services of the application."""
    state: State = scope["state"]
    return state["services"]


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange of the request."""
    state: State = scope["state"]
    return state["exchange"]
