"""Which promises about requests hold with each HTTP parser: the table in app/server/README.md."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from conftest import ROOT
from starlette.types import Receive, Scope, Send
from support.parsers import OURS, protocol_of
from support.sockets import turns
from uvicorn.server import ServerState

from app.api.edge import MAX_FIELDS, EdgeMiddleware

README = Path(ROOT, "app", "server", "README.md")
COLUMNS = {
    "`protocol.py` (default)": OURS,
    "h11": "h11",
    "zttp, which uvicorn calls experimental": "zttp",
    "uvicorn's httptools": "httptools",
}

POST = b"POST /first HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
CHUNKS = b"1\r\nx\r\n0\r\nAuthorization: Bearer trailer\r\n\r\n"
INSIDE = b"DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HALF_CLOSING = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"  # the client half-closes before the response
FIELDS = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_FIELDS))
REQUESTS = {
    "`Host` is required, over 100 header fields are refused": (
        b"GET /first HTTP/1.1\r\n\r\n",
        b"GET /first HTTP/1.1\r\nHost: x\r\n" + FIELDS + b"\r\n",
    ),
    "a token in a trailer is ignored": (
        POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    ),
    "a body after an `Upgrade` is never read as a request": (
        POST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(INSIDE) + INSIDE + LAST,
    ),
    "a transfer coding other than `chunked` gets a 501 as problem+json": (
        POST + b"Connection: close\r\nTransfer-Encoding: gzip\r\n\r\n",
    ),
    "a target that is not ASCII gets a 400": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",),
    "a client that half-closes gets its response": (HALF_CLOSING,),
    "the query of a client that disconnects is cancelled": (LAST,),
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, then respond with the path and the header fields."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await turns()  # the server must see the half-close first
    known = sorted(scope["state"].keys() - {"exchange"})
    seen = [scope["path"], known, sorted({name.decode() for name, _ in scope["headers"]})]
    body = json.dumps(seen).encode() + b"\n"
    head: dict[str, Any] = {"status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": body})


async def responses(kind: Any, request: bytes) -> str:
    """Send a request; return all bytes until the server closes the connection."""
    config = uvicorn.Config(
        EdgeMiddleware(echo), lifespan="off", log_config=None, ws="none", timeout_keep_alive=1
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        head, _, body = request.partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        if request == HALF_CLOSING:
            writer.write_eof()
        else:
            await turns()  # so that head and body arrive separately, as through some proxies
            writer.write(body)
        async with asyncio.timeout(60):
            data = await reader.read()
        writer.close()
    return data.decode("latin-1")


def keeps(parser: str, promise: str) -> bool:
    """Return whether a promise holds for each request that tests it."""
    kind = protocol_of(COLUMNS[parser])
    for request in REQUESTS[promise]:
        answered = asyncio.run(responses(kind, request))
        if promise.startswith("`Host`"):
            kept = answered[9:12] in ("400", "431")
        elif promise.startswith("a transfer coding"):
            kept = answered[9:12] == "501"
        elif promise.startswith("a target"):
            kept = answered[9:12] == "400"
        elif promise.startswith("a client"):
            kept = "/slow" in answered
        elif promise.startswith("the query"):
            kept = '["client"]' in answered
        else:
            kept = "/first" in answered and "/smuggled" not in answered and "authorization" not in answered
        if not kept:
            return False
    return True


def table() -> dict[str, dict[str, str]]:
    """Return the cells of the table by promise and parser."""
    text = README.read_text().partition("## HTTP parsers")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n") if line[:1] == "|"
    ]
    parsers = rows[0][1:]
    return {row[0]: dict(zip(parsers, row[1:], strict=True)) for row in rows if row[0] in REQUESTS}


def test_the_table_has_a_column_for_each_parser_and_a_row_for_each_promise() -> None:
    assert table().keys() == REQUESTS.keys()
    assert all(cells.keys() == COLUMNS.keys() for cells in table().values())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("promise", REQUESTS)
@pytest.mark.parametrize("parser", COLUMNS)
def test_the_table_is_right_about_a_parser(parser: str, promise: str) -> None:
    assert keeps(parser, promise) is table()[promise][parser].startswith("yes")
