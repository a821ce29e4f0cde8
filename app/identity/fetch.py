"""Gets a small document over HTTP without blocking anything: bounded in time and size."""

import asyncio
import ssl
from functools import cache
from urllib.parse import urlsplit

import h11

FETCH_TIMEOUT = 5  # seconds for all of it, name and TLS included
MAX_BYTES = 256 * 1024  # bytes
READ_BYTES = 64 * 1024  # bytes
OK = 200

UNREACHABLE = (OSError, ValueError, h11.ProtocolError)  # what get() raises


async def get(url: str) -> bytes:
    """Return the body of a 200; raise UNREACHABLE for anything else, a redirect too."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    async with asyncio.timeout(FETCH_TIMEOUT):
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port or (443 if secure else 80), ssl=trust() if secure else None
        )
        try:
            target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
            return await _exchange(reader, writer, parts.netloc, target)
        finally:
            writer.transport.abort()


@cache
def trust() -> ssl.SSLContext:
    """What the system trusts, or SSL_CERT_FILE: read once, since that takes long."""
    return ssl.create_default_context()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, target: str
) -> bytes:
    peer, body = h11.Connection(h11.CLIENT), b""
    headers = [("Host", host), ("Accept", "application/json"), ("Connection", "close")]
    writer.write(peer.send(h11.Request(method="GET", target=target, headers=headers)) or b"")
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            peer.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response) and event.status_code != OK:
            raise ValueError(f"the answer is {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return body
