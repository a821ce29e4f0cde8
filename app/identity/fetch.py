"""Gets a small document over HTTP without blocking anything: bounded in time and size."""

import asyncio
import ssl
from functools import cache
from urllib.parse import urlsplit

import httpcore

FETCH_TIMEOUT = 5  # seconds for all of it, name and TLS included
MAX_BYTES = 256 * 1024
OK = 200

UNREACHABLE = (OSError, ValueError, httpcore.NetworkError, httpcore.ProtocolError)  # what get() raises


async def get(url: str) -> bytes:
    """Return the body of a 200; raise UNREACHABLE for anything else, a redirect too."""
    parts, body = urlsplit(url), b""
    async with (
        asyncio.timeout(FETCH_TIMEOUT),
        httpcore.AsyncConnectionPool(trust() if parts.scheme == "https" else None) as pool,
        pool.stream("GET", url, headers=[("Host", parts.netloc), ("Accept", "application/json")]) as answer,
    ):
        if answer.status != OK:
            raise ValueError(f"the answer is {answer.status}")
        async for piece in answer.aiter_stream():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return body


@cache
def trust() -> ssl.SSLContext:
    """What the system trusts, or SSL_CERT_FILE: read once, since that takes long."""
    return ssl.create_default_context()
