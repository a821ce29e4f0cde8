"""Gets a small document over HTTP without blocking anything: bounded in time and size."""

import asyncio
import ssl
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

FETCH_TIMEOUT = 5  # seconds for all of it, name and TLS included
MAX_BYTES = 256 * 1024
OK = 200

# What get() raises.
UNREACHABLE = (OSError, ValueError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError)


async def get(url: str) -> bytes:
    """Return the body of a 200; raise UNREACHABLE for anything else, a redirect too."""
    parts, body = urlsplit(url), b""
    # Not compressed: a small document may unpack to more than the memory holds.
    headers = [("Host", parts.netloc), ("Accept", "application/json"), ("Accept-Encoding", "identity")]
    async with (
        asyncio.timeout(FETCH_TIMEOUT),
        _connections(parts) as pool,
        pool.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status != OK:
            raise ValueError(f"the answer is {answer.status}")
        for name, value in answer.headers:
            if name.lower() == b"content-encoding" and value.lower() not in (b"", b"identity"):
                raise ValueError(
                    f"it is compressed ({value.decode('latin-1')}), though identity was asked for"
                )
        async for piece in answer.aiter_stream():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return body


def proxy_for(url: SplitResult) -> str | None:
    """Return the address of the proxy that HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY excepts the host.

    A document over http comes from this machine, and through no proxy: it could be replaced there.
    """
    if url.scheme != "https" or proxy_bypass(url.netloc if url.port else f"{url.netloc}:443"):
        return None
    proxies = getproxies()
    return proxies.get("https") or proxies.get("all")


def _connections(url: SplitResult) -> httpcore.AsyncConnectionPool:
    context = trust() if url.scheme == "https" else None
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
    if not host:  # nothing of it is repeated: it may hold a password
        raise ValueError("HTTPS_PROXY is not the address of an HTTP proxy; write http://HOST:PORT")
    credentials = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode())
    return httpcore.AsyncHTTPProxy(
        f"{parts.scheme}://{host}:{port}",
        proxy_auth=credentials if any(credentials) else None,
        ssl_context=context,
        proxy_ssl_context=context if parts.scheme == "https" else None,
    )


@cache
def trust() -> ssl.SSLContext:
    """What the system trusts, or SSL_CERT_FILE: read once, since that takes long."""
    return ssl.create_default_context()
