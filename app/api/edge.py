"""The one ASGI wrapper: what HTTP calls malformed is refused, and every response gets its headers.

All of it is decided by the ASGI scope, so that it holds under any server and parser.
"""

import re
from asyncio import CancelledError
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from random import getrandbits
from time import perf_counter
from urllib.parse import unquote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.answers import HEADERS
from app.api.errors import DEFECT, STOPPING
from app.api.state import Exchange, Services
from app.problems import Problem

Field = tuple[bytes, bytes]

VERSIONS = {"1.1", "1.0", "2", "3"}  # as ASGI names them: a request line says 2.0, which is refused
MAX_FIELDS = 100  # header fields of a request
MAX_QUERY_BYTES = 8192
# The longest path of a route has a user id of 255 characters, each up to 12 bytes long when percent-encoded.
MAX_PATH_BYTES = 4096
MAX_SEGMENTS = 16
MAX_DRAINED = 65536  # bytes of a body that are read on after the response: as many as any body may have
MAX_REQUESTED_HEADERS = 4096  # bytes of Access-Control-Request-Headers

# host [":" port] (RFC 3986, section 3.2)
AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::([0-9]{0,5}))?"
)
MAX_PORT = 65535
MAX_HOSTS = 64  # values of Host that were seen last and are kept

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
FIELD_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*")

# A percent-encoded slash is no end of its segment, nor is a line feed one of the path, as to Starlette's
# patterns. A segment that was encoded begins with ENCODED, so that it matches a parameter of a route, but no
# fixed part: a proxy that hides /metrics need not know /%6detrics. No decoding yields these characters.
ENCODED = "\udc25"
STAND_INS = {"/": "\udc2f", "\n": "\udc0a"}
HIDE = str.maketrans(STAND_INS)
SHOW = str.maketrans({stand_in: character for character, stand_in in STAND_INS.items()})

COMMON_HEADERS: list[Field] = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
CLOSE: Field = (b"connection", b"close")
# CORS (Fetch standard, section 3.3)
CORS_HEADERS: list[Field] = [
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", ", ".join(HEADERS).encode()),
]
PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID",
    "access-control-max-age": "600",
}


class Origins:
    """Origins whose pages may read responses, with at most one `*` each for a part of a host's name."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.exact = frozenset(allowed)
        patterns = [re.escape(origin).replace(r"\*", "[a-z0-9-]+") for origin in self.exact if "*" in origin]
        self.pattern = re.compile("|".join(f"(?=https?://){pattern}" for pattern in patterns) or "(?!)")

    def __contains__(self, origin: object) -> bool:
        if not isinstance(origin, str) or "*" in origin:
            return False
        return origin in self.exact or self.pattern.fullmatch(origin) is not None


class EdgeMiddleware:
    """Gives every request an id and a path split before it is decoded, and every response its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin an exchange, pass the request on, and call the observers at the end.

        The application answers errors. Only what never gets there is answered here: a request that is refused
        by its head, and one that the server cancels because it stops.
        """
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = perf_counter(), 0
        given: dict[bytes, bytes] = dict(scope["headers"])
        state = scope.setdefault("state", {})
        services: Services | None = state.get("services")
        origin = _allowed_origin(services, given)
        request_id = _request_id(given)
        exchange = Exchange(scope["method"], request_id.decode(), state.get("client"))
        state["exchange"] = exchange
        added = [(b"x-request-id", request_id), *COMMON_HEADERS, *_cors(origin)]
        rest = Rest(receive) if _may_send_on(given) else None
        if exchange.method == "HEAD":  # as GET, without the body (RFC 9110, section 9.3.2)
            scope, send = {**scope, "method": "GET"}, _without_body(send)

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
                if rest and not rest.ended:
                    message["headers"].append(CLOSE)
            await send(message)

        try:
            app = self.responder(scope, given, origin)
            await app(scope, rest or receive, complete)
        except CancelledError:
            if status:
                raise
            response = Problem(503, STOPPING, {"Retry-After": "1"}).response()
            await response(scope, receive, complete)
        finally:
            if services:
                _observe(services, scope, status or DEFECT, perf_counter() - started)
        return None

    def responder(self, scope: Scope, given: Mapping[bytes, bytes], origin: bytes | None) -> ASGIApp:
        """Return what responds to a request: the application, unless the head alone decides."""
        try:
            _refuse_malformed(scope, given)
            _limit_target(scope)
        except Problem as problem:
            return problem.response()
        _split_path(scope)
        return _preflight(origin, given) if _is_preflight(scope, given) else self.app


def _observe(services: Services, scope: Scope, status: int, seconds: float) -> None:
    exchange: Exchange = scope["state"]["exchange"]
    if route := scope.get("route"):
        exchange.route = route.path
    for observe in services.observers:
        observe(exchange, status, seconds)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


class Rest:
    """What is left of a body that may be large: whether the application has read to its end."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        """Receive some of it."""
        message = await self.receive()
        self.ended = not message.get("more_body", False)
        return message


def _refuse_malformed(scope: Scope, given: Mapping[bytes, bytes]) -> None:
    """Raise Problem for what is no HTTP/1.1 or no single host (RFC 9112, sections 2.3, 3.2 and 6.1)."""
    version, host = scope["http_version"], given.get(b"host")
    if version not in VERSIONS:
        raise _malformed(505, "Only HTTP/1.1 and HTTP/1.0 are supported")
    if len(scope["headers"]) > MAX_FIELDS:
        raise _malformed(431, f"The request has more than {MAX_FIELDS} header fields")
    if host is None:
        if version == "1.1":
            raise _malformed(400, "The request has no Host")
    elif not is_authority(host) or len(_lines(scope, given, b"host")) > 1:
        raise _malformed(400, "Host must be one host, and a port if any")
    if b"transfer-encoding" in given:
        _refuse_coding(scope, given)


def _refuse_coding(scope: Scope, given: Mapping[bytes, bytes]) -> None:
    lines = _lines(scope, given, b"transfer-encoding")
    if [line.strip().lower() for line in lines] != [b"chunked"]:
        raise _malformed(501, "The only transfer coding supported is chunked")
    if b"content-length" in given or scope["http_version"] == "1.0":
        raise _malformed(400, "The length of the body is ambiguous")


def _malformed(status: int, detail: str) -> Problem:
    return Problem(status, detail, {"Connection": "close"})


def _lines(scope: Scope, given: Mapping[bytes, bytes], name: bytes) -> list[bytes]:
    """Return all lines of a field; in most requests no field has several."""
    headers: list[Field] = scope["headers"]
    return [given[name]] if len(given) == len(headers) else [value for key, value in headers if key == name]


@lru_cache(MAX_HOSTS)
def is_authority(value: bytes) -> bool:
    """Return whether the value is `host [":" port]`, as Host must be (RFC 9110, section 7.2)."""
    found = AUTHORITY.fullmatch(value.strip(b" \t"))
    if not found or int(found[2] or 0) > MAX_PORT:
        return False
    try:
        return not found[1] or bool(IPv6Address(found[1].decode()))
    except ValueError:
        return False


def _may_send_on(given: Mapping[bytes, bytes]) -> bool:
    """Return whether more of a body may follow a response than is worth reading.

    A client that expects 100 may send its body or not once it got another status.
    """
    if b"content-length" in given:
        return b"expect" in given or int(given[b"content-length"]) > MAX_DRAINED
    return b"transfer-encoding" in given


def _limit_target(scope: Scope) -> None:
    """Refuse what no route can match before it is decoded."""
    path = scope.get("raw_path") or b""
    if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_SEGMENTS:
        raise Problem(404, "Path not found")
    if len(scope.get("query_string", b"")) > MAX_QUERY_BYTES:
        raise Problem(414, "The query is longer than 8 KiB")


def _request_id(given: Mapping[bytes, bytes]) -> bytes:
    """Return the client's id for the request, or a new one."""
    request_id = given.get(b"x-request-id", b"")
    return request_id if REQUEST_ID.fullmatch(request_id) else new_request_id()


def new_request_id() -> bytes:
    """Make an id for a request that brings none."""
    return b"%032x" % getrandbits(128)


def _allowed_origin(services: Services | None, given: Mapping[bytes, bytes]) -> bytes | None:
    origin = given.get(b"origin")
    allowed = origin is not None and services and origin.decode("latin-1") in services.origins
    return origin if allowed else None


def _cors(origin: bytes | None) -> list[Field]:
    return [] if origin is None else [(b"access-control-allow-origin", origin), *CORS_HEADERS]


def _is_preflight(scope: Scope, given: Mapping[bytes, bytes]) -> bool:
    return scope["method"] == "OPTIONS" and b"origin" in given and b"access-control-request-method" in given


def _preflight(origin: bytes | None, given: Mapping[bytes, bytes]) -> Response:
    """Allow an origin of ours whatever header fields it asks for: no cookie is read, so no field can harm."""
    if origin is None:
        return Response(status_code=204)
    asked = given.get(b"access-control-request-headers", b"")
    reflected = len(asked) <= MAX_REQUESTED_HEADERS and FIELD_NAMES.fullmatch(asked)
    return Response(
        status_code=204,
        headers=PREFLIGHT | ({"access-control-allow-headers": asked.decode()} if reflected else {}),
    )


def _split_path(scope: Scope) -> None:
    """Let a percent-encoded slash stand within its segment."""
    raw = scope.get("raw_path") or b""
    if b"%" in raw:
        scope["path"] = "/".join(map(_encoded, raw.decode("ascii").split("/")))


def _encoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    return ENCODED + unquote(segment, errors="surrogateescape").translate(HIDE)


def decoded(segment: str) -> str:
    """Return the text of a path parameter, slashes and all."""
    return segment[1:].translate(SHOW) if segment.startswith(ENCODED) else segment
