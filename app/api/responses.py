"""Responses with JSON, and the OpenAPI document's description of headers and problems."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from app.api import schemas
from app.problems import PROBLEM_JSON, TITLES

Responses = dict[int | str, dict[str, Any]]

# The header fields that a client reads: each is documented, and exposed to pages of other origins (CORS).
HEADERS = {
    "X-Request-ID": "The request id that the client sent, or a new one.",
    "ETag": "The task's version in double quotes.",
    "Location": "The path of the new task.",
    "Idempotency-Replayed": "`true` if an earlier request with the same key created the task.",
    "Link": 'The URL of the next page, as `<...>; rel="next"`; absent on the last page.',
    "X-Total-Count": "With `count=true`, the number of tasks that match the filter, on all pages together.",
    "WWW-Authenticate": "`Bearer`, with the error if a token was sent and refused.",
    "Retry-After": "Seconds to wait before a retry.",
}
OF_PROBLEM = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}


def json_response(body: str, headers: Mapping[bytes, bytes], status: int = 200) -> Response:
    """Return a response with the JSON text that the database made, or with an empty body.

    The headers are in the form of ASGI: bytes, with names in lower case. Converting them with Starlette would
    cost 3 % of a GET (measured in 2026-11).
    """
    response = Response(body, status)
    response.raw_headers += [(b"cache-control", b"private, no-cache"), *headers.items()]
    if body:
        response.raw_headers.append((b"content-type", b"application/json"))
    return response


def documented(status: int, description: str, *headers: str) -> Responses:
    """Describe a successful response and its headers other than X-Request-ID."""
    return {status: {"description": description, "headers": _headers(*headers)}}


def problems(*statuses: int) -> Responses:
    """Describe the problems (RFC 9457) that a route may respond with."""
    return {
        status: {
            "description": TITLES[status],
            "model": schemas.Problem,
            "headers": _headers(*OF_PROBLEM.get(status, ())),
        }
        for status in statuses
    }


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": HEADERS[name], "schema": {"type": "string"}}
        for name in ("X-Request-ID", *names)
    }


def as_problem_json(document: dict[str, Any]) -> dict[str, Any]:
    """Set the media type of problems in the OpenAPI document, and sort its paths.

    FastAPI uses one media type for all responses of a route.
    """
    document["paths"] = dict(sorted(document["paths"].items()))
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= HTTPStatus.BAD_REQUEST and "content" in response:
                    response["content"] = {PROBLEM_JSON: response["content"].pop("application/json")}
    return document
