"""Readers of the parameters of an endpoint.

A parameter may be the request, a known dependency, a path parameter, a frozen model of the whole query, all
lines of a header field, or a JSON body. FastAPI's dependency solver supports more kinds, at a multiple of the
cost (see Resource in routing.py). It also reads the body before it runs dependencies, so it would read bodies
of clients without a token. An error is raised as a Problem that names the parameter.
"""

import json
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from inspect import Parameter
from operator import itemgetter
from typing import Any, NoReturn

from fastapi import Request, params
from pydantic import BaseModel, TypeAdapter
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.state import exchange_of
from app.problems import Invalid, Problem, validate

MAX_BODY_BYTES = 65536
BLANK = b" \t\r\n"
MAX_QUERIES = 256  # parsed queries that are cached: most clients send the same few
MAX_KEPT_QUERY = 256  # bytes of a cached query; longer ones contain a cursor or a search and seldom repeat
KINDS = (
    "Request, UserSession, Annotated[…, Path()], Annotated[a frozen model, Query()], "
    "Annotated[list[str] | None, Header(alias=…)], Annotated[…, Body()]"
)
LINES = (list[str], list[str] | None)  # the lines of a header field (RFC 9110, section 5.3)
MARKERS = (params.Depends, params.Param, params.Body)

Reader = Callable[[Scope, Receive], Any]
Dependencies = Mapping[Any, Reader]  # by the callable that Depends names
# The token is verified first and the body is read last. These two readers return an awaitable.
FIRST, NEXT, LAST = range(3)


def readers(
    parameters: Iterable[Parameter], path: Container[str], dependencies: Dependencies
) -> list[tuple[str, Reader, bool]]:
    """Return for each parameter, in the order of reading, its name, its reader and whether to await it.

    Raise TypeError for a parameter of an unsupported kind.
    """
    ordered = [(*_reader(parameter, path, dependencies), parameter.name) for parameter in parameters]
    if [turn for turn, *_ in ordered].count(LAST) > 1:
        raise TypeError("it has several bodies")
    return [(name, read, turn != NEXT) for turn, read, name in sorted(ordered, key=itemgetter(0))]


def _reader(parameter: Parameter, path: Container[str], dependencies: Dependencies) -> tuple[int, Reader]:
    kind, adapter = parameter.annotation, TypeAdapter[Any]
    match [marker for marker in getattr(kind, "__metadata__", ()) if isinstance(marker, MARKERS)]:
        case [] if kind is Request:
            return NEXT, Request
        case [params.Depends(dependency=dependency)] if dependency in dependencies:
            return FIRST, dependencies[dependency]
        case [params.Path(alias=None)] if parameter.name in path:
            return NEXT, _path_reader(adapter(kind), parameter.name)
        case [params.Query()] if _is_flat(kind.__origin__):
            return NEXT, _query_reader(adapter(kind.__origin__))
        case [params.Header(alias=str(name))] if kind.__origin__ in LINES:
            return NEXT, _header_reader(adapter(kind), name, parameter.default)
        case [params.Body(embed=None) as body] if type(body) is params.Body:
            return LAST, _body_reader(adapter(kind), parameter.default)
    raise TypeError(f"its parameter {parameter.name} is not one of {KINDS}")


def _is_flat(kind: Any) -> bool:  # noqa: ANN401 - any type
    """Return whether a type is a frozen model without lists. The reader keeps one value per parameter."""
    return (
        issubclass(kind, BaseModel)
        and kind.model_config.get("frozen", False)
        and not any(
            member.get("type") in {"array", "object"}
            for member in kind.model_json_schema()["properties"].values()
        )
    )


def _path_reader(adapter: TypeAdapter[Any], name: str) -> Reader:
    def read(scope: Scope, _: Receive) -> object:
        return validate(adapter, scope["path_params"][name], name)

    return read


def _query_reader(adapter: TypeAdapter[Any]) -> Reader:
    @lru_cache(MAX_QUERIES)
    def parse(query: bytes) -> object:
        return validate(adapter, dict(QueryParams(query)), "query")

    def read(scope: Scope, _: Receive) -> object:
        query = scope["query_string"]
        return parse(query) if len(query) <= MAX_KEPT_QUERY else parse.__wrapped__(query)

    return read


def _header_reader(adapter: TypeAdapter[Any], name: str, default: object) -> Reader:
    raw_name = name.lower().encode()  # the form of names in ASGI

    def read(scope: Scope, _: Receive) -> object:
        if raw_name not in exchange_of(scope).fields:
            return default
        lines = [value.decode("latin-1") for key, value in scope["headers"] if key == raw_name]
        return validate(adapter, lines, name)

    return read


def _body_reader(adapter: TypeAdapter[Any], default: object) -> Reader:
    async def read(scope: Scope, receive: Receive) -> object:
        raw = await _read_body(scope, receive)
        if default is not Parameter.empty and not raw.strip(BLANK):
            return default
        return validate(adapter, parse_json(raw), "body")

    return read


async def _read_body(scope: Scope, receive: Receive) -> bytearray:
    fields = exchange_of(scope).fields
    if b"content-encoding" in fields and _is_encoded(scope) and _has_body(fields):
        raise Problem(415, "The body must have no Content-Encoding", {"Accept-Encoding": "identity"})
    if int(fields.get(b"content-length", 0)) > MAX_BODY_BYTES:
        raise _too_large()
    raw, more = bytearray(), True
    while more:  # Request.stream() would make an asynchronous generator
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        raw += message.get("body", b"")
        more = message.get("more_body", False)
        if len(raw) > MAX_BODY_BYTES:
            raise _too_large()
    return raw


def _too_large() -> Problem:
    return Problem(413, f"The body must have at most {MAX_BODY_BYTES} bytes")


def _is_encoded(scope: Scope) -> bool:
    codings = b",".join(value for name, value in scope["headers"] if name == b"content-encoding")
    return any(coding.strip().lower() not in (b"", b"identity") for coding in codings.split(b","))


def _has_body(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether the head announces a body (RFC 9112, section 6)."""
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


# Integers are parsed as floats, since no member is a number and large integers are slow.
DECODER = json.JSONDecoder(parse_int=float, parse_constant=_refuse)


def parse_json(raw: bytes | bytearray) -> object:
    """Parse JSON in UTF-8 (RFC 8259), for any Content-Type."""
    try:
        return DECODER.decode(raw.decode())
    except RecursionError:
        raise Invalid(("body", "is nested too deeply")) from None
    except ValueError:
        raise Problem(400, "The body must be JSON in UTF-8") from None
