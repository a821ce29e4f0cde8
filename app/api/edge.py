"""What every answer carries, errors and preflights too: a request id, nosniff, CORS (Fetch standard, 3.3)."""

import re
from asyncio import CancelledError
from secrets import token_hex
from time import perf_counter
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem

DEFECT = 500  # which the server logs
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Within a segment a slash is no end of it, nor is a line feed one of the path, as to Starlette's patterns;
# no other decoding yields these stand-ins.
STAND_INS = {"/": "\udc2f", "\n": "\udc0a"}
HIDE = str.maketrans(STAND_INS)
SHOW = str.maketrans({stand_in: character for character, stand_in in STAND_INS.items()})

ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
ALLOWED = [(b"access-control-allow-credentials", b"true")]
EXPOSED = [
    (
        b"access-control-expose-headers",
        b"ETag, Link, Location, Retry-After, X-Request-ID, Idempotency-Replayed",
    )
]
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID",
    "access-control-max-age": "600",
}


class EdgeMiddleware:
    """The one ASGI wrapper, around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its path split before it is decoded, and complete the answer's headers."""
        given: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(given)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        added = [(b"x-request-id", request_id), *ALWAYS]
        origin = given.get(b"origin")
        allowed = origin is not None and origin.decode("latin-1") in state.get("origins", ())
        if origin is not None and allowed:
            added += [(b"access-control-allow-origin", origin), *ALLOWED]

        began, status = perf_counter(), 0

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                message["headers"] = [*message["headers"], *added, *(EXPOSED if allowed else ())]
            await send(message)

        raw = scope.get("raw_path") or b""
        if b"%" in raw:
            scope["path"] = "/".join(map(_encoded, raw.decode("ascii").split("/")))
        app = self.app
        if scope["method"] == "OPTIONS" and origin and b"access-control-request-method" in given:
            app = Response(status_code=204, headers=PREFLIGHT if allowed else None)
        try:
            await app(scope, receive, complete)
        except (Exception, CancelledError) as error:
            if status:
                raise
            found = problem(Request(scope), error)
            await found.response()(scope, receive, complete)
            if found.status == DEFECT:
                raise
        finally:
            for observe in state.get("observers", ()):
                observe(scope, status or 500, perf_counter() - began)


def _request_id(given: dict[bytes, bytes]) -> bytes:
    request_id = given.get(b"x-request-id", b"")
    return request_id if REQUEST_ID.fullmatch(request_id) else token_hex(16).encode()


def _encoded(segment: str) -> str:
    return unquote(segment, errors="surrogateescape").translate(HIDE)


def decoded(segment: str) -> str:
    """Return the text of a path parameter, slashes and all."""
    return segment.translate(SHOW)
