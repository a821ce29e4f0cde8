"""The outermost ASGI middleware: refuses malformed requests and adds headers to every response.

It uses only the ASGI scope, so it works with every ASGI server and HTTP parser. Being outermost, it also
covers 404, 405 and 500 responses and CORS preflights. A separate middleware for each of these jobs would cost
10 to 120 µs per request.
"""

import re
from asyncio import CancelledError
from collections.abc import Awaitable, Iterable, Mapping
from functools import lru_cache, partial
from ipaddress import IPv6Address
from random import getrandbits
from time import perf_counter
from urllib.parse import unquote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import DEFECT, METHODS, STOPPING
from app.api.parameters import MAX_BODY_BYTES
from app.api.responses import HEADERS
from app.api.state import Exchange, Services, State
from app.problems import Problem

Field = tuple[bytes, bytes]

VERSIONS = {"1.1", "1.0", "2", "3"}  # as ASGI writes them; the 2.0 of a request line is refused
MAX_FIELDS = 100  # header fields of a request
MAX_QUERY_BYTES = 8192
# The longest path of a route has a user id of 255 characters, each up to 12 bytes long when percent-encoded.
MAX_PATH_BYTES = 4096
MAX_SEGMENTS = 16
PERCENT = ord("%")  # an integer: with bytes, `in` is slower, since it first raises and catches a TypeError
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
MAX_BROKEN_ESCAPES = 16  # some clients do not encode %; decoding 4096 of them takes 5 ms
MAX_REQUESTED_HEADERS = 4096  # bytes of Access-Control-Request-Headers

# host [":" port] (RFC 3986, section 3.2)
AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::([0-9]{0,5}))?"
)
MAX_PORT = 65535
MAX_HOST_BYTES = 300
MAX_HOSTS = 64  # cached values of Host

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
FIELD_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*")

# A path is split at slashes before it is decoded. A decoded segment may contain a slash, which would end the
# segment, or a line feed, which Starlette's patterns treat as the end of the path. STAND_INS replace both.
# They are surrogates below U+DC80, which decoding never yields. ENCODED is put before an encoded path outside
# of /api/. Such a path matches no route, so a proxy rule that hides /metrics need not cover /%6detrics.
ENCODED = "\udc25"
STAND_INS = {"/": "\udc2f", "\n": "\udc0a"}
HIDE = str.maketrans(STAND_INS)
SHOW = str.maketrans({stand_in: character for character, stand_in in STAND_INS.items()})

COMMON_HEADERS: list[Field] = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
CLOSE: Field = (b"connection", b"close")
# An origin that matches a * must have a valid host name: no label begins or ends with a hyphen (RFC 952).
HOST_NAME = r"(?=https?://)(?!.*(?:[/.]-|-[.:]|-$))"
# CORS (Fetch standard, section 3.3)
CORS_HEADERS: list[Field] = [
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", ", ".join(HEADERS).encode()),
]
PREFLIGHT = {
    "access-control-allow-methods": ", ".join(METHODS),
    "access-control-allow-headers": "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID",
    "access-control-max-age": "600",
}


class Origins:
    """The origins that may read responses (CORS). Each may have one `*` for a part of a host name."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.exact = frozenset(allowed)
        patterns = [re.escape(origin).replace(r"\*", "[a-z0-9-]+") for origin in self.exact if "*" in origin]
        self.pattern = re.compile(f"{HOST_NAME}({'|'.join(patterns) or '(?!)'})")

    def __contains__(self, origin: object) -> bool:
        if not isinstance(origin, str) or "*" in origin:
            return False
        return origin in self.exact or self.pattern.fullmatch(origin) is not None


class EdgeMiddleware:
    """Refuses malformed requests, adds headers to responses, and calls the observers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Errors are handled by the application. This middleware itself responds to requests with an invalid
        head, to preflights, to `OPTIONS *`, and to requests that the server cancels because it stops.
        """
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = perf_counter()
        fields: dict[bytes, bytes] = dict(scope["headers"])
        state = scope.setdefault("state", {})
        origin = _allowed_origin(state.get("services"), fields)
        exchange = Exchange(scope["method"], _request_id(fields), fields, state.get("client"))
        state["exchange"] = exchange
        body = BodyReceive(receive) if _closes_if_unread(fields) else None
        received = scope
        if exchange.method == "HEAD":  # as GET; the server drops the body (RFC 9110, section 9.3.2)
            scope = {**scope, "method": "GET"}
        elif PERCENT in (scope.get("raw_path") or b""):
            # A copy, since _split_path changes the path, and uvicorn's access log cannot encode the new one.
            scope = {**scope}
        send = partial(send_with_headers, send, exchange, origin, body)
        try:
            app = self.responder(scope, fields, origin)
            await app(scope, body or receive, send)
        except CancelledError:
            if exchange.status:
                raise
            response = Problem(503, STOPPING, {"Retry-After": "1"}).response()
            await response(scope, receive, send)
        finally:
            _observe(received, scope, perf_counter() - started)
        return None

    def responder(self, scope: Scope, fields: Mapping[bytes, bytes], origin: bytes | None) -> ASGIApp:
        """Return the ASGI application for a request: self.app, a problem or a preflight response."""
        try:
            _refuse_malformed(scope, fields)
            _limit_target(scope)
        except Problem as problem:
            return problem.response()
        _split_path(scope)
        if scope["method"] == "OPTIONS":
            if scope["path"] == "*":  # about the server, not a resource (RFC 9110, section 9.3.7)
                return Response(status_code=204, headers={"Allow": ", ".join((*METHODS, "OPTIONS"))})
            if b"origin" in fields and b"access-control-request-method" in fields:
                return _preflight(origin, fields)
        return self.app


class BodyReceive:
    """A `receive` that remembers whether the application has read the body to its end."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        """Receive the next part of the body."""
        message = await self.receive()
        self.ended = not message.get("more_body", False)
        return message


def send_with_headers(
    send: Send, exchange: Exchange, origin: bytes | None, body: BodyReceive | None, message: Message
) -> Awaitable[None]:
    """Send a message of a response. Add headers to the first one, and note its status."""
    if message["type"] == "http.response.start":
        exchange.status = message["status"]
        added = [(b"x-request-id", exchange.request_id.encode()), *COMMON_HEADERS, *_cors(origin)]
        message["headers"] = [*message["headers"], *added]
        if body and not body.ended:
            message["headers"].append(CLOSE)
    return send(message)


def _observe(received: Scope, scope: Scope, seconds: float) -> None:
    """Pass a request to the observers. `scope` may be a copy of the scope that was received."""
    state: State = scope["state"]
    exchange = state["exchange"]
    if route := scope.get("route"):
        received["route"] = route  # for middleware around the application, such as Sentry's
        exchange.route = route.path
    if services := state.get("services"):
        for observe in services.observers:
            observe(exchange, exchange.status or DEFECT, seconds)


def _refuse_malformed(scope: Scope, fields: Mapping[bytes, bytes]) -> None:
    """Raise Problem for a wrong version, Host or transfer coding (RFC 9112, sections 2.3, 3.2 and 6.1)."""
    version, host, headers = scope["http_version"], fields.get(b"host"), scope["headers"]
    if version not in VERSIONS:
        raise _malformed(505, "Only HTTP/1.1 and HTTP/1.0 are supported")
    if len(headers) > MAX_FIELDS:
        raise _malformed(431, f"The request has more than {MAX_FIELDS} header fields")
    if host is None:
        if version == "1.1":
            raise _malformed(400, "The request has no Host")
    elif (
        len(host) > MAX_HOST_BYTES
        or not is_authority(host)
        or (len(fields) < len(headers) and len(_lines(scope, b"host")) > 1)
    ):
        raise _malformed(400, "Host must be one host, with or without a port")
    if b"transfer-encoding" in fields:
        _refuse_coding(scope, fields)


def _refuse_coding(scope: Scope, fields: Mapping[bytes, bytes]) -> None:
    lines = _lines(scope, b"transfer-encoding")
    if [line.strip().lower() for line in lines] != [b"chunked"]:
        raise _malformed(501, "The only transfer coding supported is chunked")
    if b"content-length" in fields or scope["http_version"] == "1.0":
        raise _malformed(400, "The length of the body is ambiguous")


def _malformed(status: int, detail: str) -> Problem:
    return Problem(status, detail, {"Connection": "close"})


def _lines(scope: Scope, name: bytes) -> list[bytes]:
    """Return all lines of a header field."""
    return [value for key, value in scope["headers"] if key == name]


@lru_cache(MAX_HOSTS)
def is_authority(value: bytes) -> bool:
    """Return whether a value has the form of Host, `host [":" port]` (RFC 9110, section 7.2)."""
    found = AUTHORITY.fullmatch(value.strip(b" \t"))
    if not found or int(found[2] or 0) > MAX_PORT:
        return False
    try:
        return not found[1] or bool(IPv6Address(found[1].decode()))
    except ValueError:
        return False


def _closes_if_unread(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether to close the connection if the application responds before it has read the body.

    This is so if more than MAX_BODY_BYTES may follow, or if the client expects a 100: after another status
    it may or may not send its body.
    """
    if b"content-length" in fields:
        return b"expect" in fields or int(fields[b"content-length"]) > MAX_BODY_BYTES
    return b"transfer-encoding" in fields


def _limit_target(scope: Scope) -> None:
    """Raise Problem for a path or query that is too long for every route, before it is decoded."""
    refuse_path(scope.get("raw_path") or b"")
    if len(scope.get("query_string", b"")) > MAX_QUERY_BYTES:
        raise Problem(414, "The query is longer than 8 KiB")


def refuse_path(path: bytes) -> None:
    """Raise Problem for a path that no route can match and that is expensive to decode."""
    if (
        len(path) > MAX_PATH_BYTES
        or path.count(b"/") > MAX_SEGMENTS
        or (PERCENT in path and len(BROKEN_ESCAPE.findall(path)) > MAX_BROKEN_ESCAPES)
    ):
        raise Problem(404, "Path not found")


def _request_id(fields: Mapping[bytes, bytes]) -> str:
    """Return the client's id for the request, or a new one."""
    request_id = fields.get(b"x-request-id")
    return request_id.decode() if request_id and REQUEST_ID.fullmatch(request_id) else new_request_id()


def new_request_id() -> str:
    """Return a random request id of 32 hex digits."""
    return f"{getrandbits(128):032x}"


def _allowed_origin(services: Services | None, fields: Mapping[bytes, bytes]) -> bytes | None:
    origin = fields.get(b"origin")
    allowed = origin is not None and services and origin.decode("latin-1") in services.origins
    return origin if allowed else None


def _cors(origin: bytes | None) -> list[Field]:
    return [] if origin is None else [(b"access-control-allow-origin", origin), *CORS_HEADERS]


def _preflight(origin: bytes | None, fields: Mapping[bytes, bytes]) -> Response:
    """Allow all requested headers for an allowed origin.

    This is safe, since the API does not use cookies.
    """
    if origin is None:
        return Response(status_code=204)
    asked = fields.get(b"access-control-request-headers", b"")
    reflected = len(asked) <= MAX_REQUESTED_HEADERS and FIELD_NAMES.fullmatch(asked)
    return Response(
        status_code=204,
        headers=PREFLIGHT | ({"access-control-allow-headers": asked.decode()} if reflected else {}),
    )


def _split_path(scope: Scope) -> None:
    """Set the path so that a percent-encoded slash does not separate segments."""
    raw = scope.get("raw_path") or b""
    if PERCENT in raw:
        path = "/".join(map(_decode, raw.decode("ascii").split("/")))
        scope["path"] = path if path.startswith("/api/") else ENCODED + path


def _decode(segment: str) -> str:
    return unquote(segment, errors="surrogateescape").translate(HIDE) if "%" in segment else segment


def decoded(segment: str) -> str:
    """Return the decoded text of a path parameter."""
    return segment if segment.isascii() else segment.translate(SHOW)
