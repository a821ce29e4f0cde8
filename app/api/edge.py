"""The one ASGI wrapper: what every answer carries, errors and preflights too."""

import re
from asyncio import CancelledError
from collections.abc import Mapping
from random import getrandbits
from time import perf_counter
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import DEFECT, respond_to
from app.problems import Problem

Field = tuple[bytes, bytes]

MAX_QUERY_BYTES = 8192
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Within a segment a slash is no end of it, nor is a line feed one of the path, as to Starlette's patterns;
# no other decoding yields these stand-ins.
STAND_INS = {"/": "\udc2f", "\n": "\udc0a"}
HIDE = str.maketrans(STAND_INS)
SHOW = str.maketrans({stand_in: character for character, stand_in in STAND_INS.items()})

COMMON_HEADERS: list[Field] = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
# CORS (Fetch standard, section 3.3)
CORS_HEADERS: list[Field] = [
    (b"access-control-allow-credentials", b"true"),
    (
        b"access-control-expose-headers",
        b"ETag, Link, Location, Retry-After, X-Request-ID, X-Total-Count, Idempotency-Replayed",
    ),
]
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID",
    "access-control-max-age": "600",
}


class EdgeMiddleware:
    """Gives every request an id and a path split before it is decoded, and every answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer what is raised, and tell the observers how it ended."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = perf_counter(), 0
        given: dict[bytes, bytes] = dict(scope["headers"])
        origin = _allowed_origin(scope, given)
        added = [_identify(scope, given), *COMMON_HEADERS, *_cors(origin)]
        _split_path(scope)

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            _limit_query(scope)
            app = _preflight(origin) if _is_preflight(scope, given) else self.app
            await app(scope, receive, complete)
        except (Exception, CancelledError) as error:
            if status:
                raise
            response = await respond_to(Request(scope), error)
            await response(scope, receive, complete)
            if status == DEFECT:
                raise  # for the server to log
        finally:
            for observe in scope["state"].get("observers", ()):
                observe(scope, status or DEFECT, perf_counter() - started)
        return None


def _limit_query(scope: Scope) -> None:
    if len(scope.get("query_string", b"")) > MAX_QUERY_BYTES:
        raise Problem(414, "The query is longer than 8 KiB")


def _identify(scope: Scope, given: Mapping[bytes, bytes]) -> Field:
    """Take the client's id for the request, or make one."""
    request_id = given.get(b"x-request-id", b"")
    if not REQUEST_ID.fullmatch(request_id):
        request_id = b"%032x" % getrandbits(128)
    scope.setdefault("state", {})["request_id"] = request_id.decode()
    return b"x-request-id", request_id


def _allowed_origin(scope: Scope, given: Mapping[bytes, bytes]) -> bytes | None:
    origin = given.get(b"origin")
    allowed = origin is not None and origin.decode("latin-1") in scope.get("state", {}).get("origins", ())
    return origin if allowed else None


def _cors(origin: bytes | None) -> list[Field]:
    return [] if origin is None else [(b"access-control-allow-origin", origin), *CORS_HEADERS]


def _is_preflight(scope: Scope, given: Mapping[bytes, bytes]) -> bool:
    return scope["method"] == "OPTIONS" and b"origin" in given and b"access-control-request-method" in given


def _preflight(origin: bytes | None) -> Response:
    return Response(status_code=204, headers=PREFLIGHT if origin is not None else None)


def _split_path(scope: Scope) -> None:
    """Let a percent-encoded slash stand within its segment."""
    raw = scope.get("raw_path") or b""
    if b"%" in raw:
        scope["path"] = "/".join(map(_encoded, raw.decode("ascii").split("/")))


def _encoded(segment: str) -> str:
    return unquote(segment, errors="surrogateescape").translate(HIDE)


def decoded(segment: str) -> str:
    """Return the text of a path parameter, slashes and all."""
    return segment.translate(SHOW)
