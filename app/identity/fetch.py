"""Fetches a small JSON document by HTTP, asynchronously, with a limit on time and size.

httpcore is used because it supports proxies and TLS on asyncio; urllib would need a thread.
"""

import asyncio
import ssl
from functools import cache
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

FETCH_TIMEOUT = 5  # seconds for the whole fetch, including DNS and TLS
MAX_BYTES = 256 * 1024

# The exceptions that get() raises.
UNREACHABLE = (OSError, ValueError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError)


async def get(url: str) -> bytes:
    """Return the body of a 200 response. Raise one of UNREACHABLE for any other status, even a redirect."""
    parts, body = urlsplit(url), bytearray()
    # Compression is refused: a small response can decompress to more than fits into memory.
    headers = [("Host", parts.netloc), ("Accept", "application/json"), ("Accept-Encoding", "identity")]
    async with (
        asyncio.timeout(FETCH_TIMEOUT),
        _connections(parts) as pool,
        pool.stream("GET", url, headers=headers) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise ValueError(f"the status of the response is {response.status}")
        for name, value in response.headers:
            if name.lower() == b"content-encoding" and value.lower() not in (b"", b"identity"):
                raise ValueError(
                    f"it is compressed ({value.decode('latin-1')}), although identity was requested"
                )
        async for piece in response.aiter_stream():
            body += piece
            await asyncio.sleep(0)  # otherwise pieces of one byte would block the event loop for seconds
            if len(body) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return bytes(body)


def proxy_for(url: SplitResult) -> str | None:
    """Return the URL of the proxy in HTTPS_PROXY or ALL_PROXY, or None if NO_PROXY excludes the host.

    A document with an http URL is on localhost. It is fetched without a proxy, which could replace it.
    """
    if url.scheme != "https" or proxy_bypass(url.netloc if url.port else f"{url.netloc}:443"):
        return None
    proxies = getproxies()
    return proxies.get("https") or proxies.get("all")


def _connections(url: SplitResult) -> httpcore.AsyncConnectionPool:
    context = tls_context() if url.scheme == "https" else None
    proxy = proxy_for(url)
    if not proxy:
        return httpcore.AsyncConnectionPool(context)
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        default = {"http": 80, "https": 443}[parts.scheme]
        port = parts.port or default
    except (ValueError, KeyError):
        host, port = None, 0
    if not host:  # the message does not repeat the URL, which may contain a password
        raise ValueError("HTTPS_PROXY is not the address of an HTTP proxy; write http://HOST:PORT")
    credentials = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode())
    return httpcore.AsyncHTTPProxy(
        f"{parts.scheme}://{host}:{port}",
        proxy_auth=credentials if any(credentials) else None,
        ssl_context=context,
        proxy_ssl_context=context if parts.scheme == "https" else None,
    )


@cache
def tls_context() -> ssl.SSLContext:
    """Return a context with the CA certificates of the system or of SSL_CERT_FILE.

    They are read once, since reading them is slow.
    """
    return ssl.create_default_context()
