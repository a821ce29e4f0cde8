"""`python -m app run`: serves the application with uvicorn, in one process or several workers."""

import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from app import main
from app.api.state import State
from app.server import request_log
from app.server.log_writer import LogWriter, open_standard_streams
from app.server.metrics import Metrics
from app.server.protocol import Protocol
from app.server.request_log import RequestLog
from app.server.supervisor import supervise
from app.server.uvicorn_server import Server
from app.settings import Settings, find_mistakes, load

SHUTDOWN_TIMEOUT = 15  # seconds for requests in progress; longer than a request may wait for the database
# The maximum number of connections that wait to be accepted; more than Linux's default limit
# (net.core.somaxconn) has no effect. Further clients wait at least a second, until their kernel retransmits
# the SYN.
BACKLOG = 4096
# Arguments of gc.set_threshold(). The first is the number of new objects after which the young generation is
# collected. With 4,000 clients, 50,000 (the objects of 400 waiting requests) instead of 5,000 reduced the
# time of the collections from 12 to 2 % and the longest one from 280 to 36 ms. The middle generation is
# collected once per million new objects, since 4,000 waiting requests own 600,000.
GC_THRESHOLDS = (50_000, 20, 20)


def serve(announce: Callable[[], object] = lambda: None) -> None:
    """Serve until SIGTERM, then finish the requests in progress and exit with status 0.

    `announce` is called as soon as clients can connect.
    """
    open_standard_streams()
    settings = load(Settings)
    refuse_address(settings)
    config = uvicorn.Config(
        "app.server.run:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        http=Protocol,
        backlog=BACKLOG,
        ws="none",  # an Upgrade is ignored (RFC 9110, section 7.8)
        log_config=request_log.config(settings),
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the address of a client is not used
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )
    for mistake in find_mistakes():
        logging.getLogger("uvicorn.error").warning("%s", mistake)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises SIGTERM again after its shutdown
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # sent by log rotation; by default they end the process
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        if config.workers > 1:
            sys.exit(supervise(config, announce, with_metrics=settings.metrics))
        sys.exit(serve_alone(config, announce))


def refuse_address(settings: Settings) -> None:
    """End the process if it cannot listen. uvicorn would fail later and not name the setting."""
    try:
        try_address(settings.host, settings.port)
    except OSError as error:
        sys.exit(why_not(error, settings.host, settings.port))


def try_address(host: str, port: int) -> None:
    """Bind each address of the host for a moment; raise OSError if one cannot be bound.

    As in uvicorn, an IPv6 address of a host name is ignored on a machine without IPv6.
    """
    # A str would be encoded as IDNA, which raises UnicodeError for a name like a..b.
    found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    here = [each for each in found if _has(each[0])]
    for family, kind, *_, address in here or found:
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)


def _has(family: int) -> bool:
    with suppress(OSError):
        socket.socket(family).close()
        return True
    return False


def why_not(error: OSError, host: str, port: int) -> str:
    """Return one line with the reason why a process cannot listen, and what to write."""
    if isinstance(error, socket.gaierror):
        return f"HOST: {host} does not resolve; write only an address or a name, like 127.0.0.1 or 0.0.0.0"
    match error.errno:
        case errno.EADDRINUSE:
            return f"PORT: {port} is used by another program; run PORT={port + 1} make run"
        case errno.EACCES:
            return f"PORT: {port} is reserved for root; write one from 1024 on, like 8000"
        case errno.EADDRNOTAVAIL:
            return f"HOST: {host} is not an address of this machine; write one that is, or 0.0.0.0 for all"
        case errno.EAFNOSUPPORT:
            return f"HOST: {host} needs IPv6, which this machine does not have; write 127.0.0.1 or 0.0.0.0"
    return f"HOST: no program can listen on {host}, {error.strerror}; write 127.0.0.1 or 0.0.0.0"


def create_app() -> FastAPI:
    """Create the application with the request log and, if METRICS is on, the metrics as observers."""
    return main.create_app(lifespan)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Run the lifespan of the application, and add the observers to its services."""
    settings = load(Settings)
    async with main.lifespan(app) as state:
        tune_gc()
        (writer,) = (each for each in logging.getLogger().handlers if isinstance(each, LogWriter))
        services, log = state["services"], RequestLog(settings, writer)
        if not settings.metrics:
            yield {"services": services._replace(observers=(log,))}
            return
        pool, metrics = services.database.pool, Metrics(writer)
        app.routes.append(metrics.route(pool))
        metrics.show_zeros(main.ROUTERS)
        async with metrics.sampling(pool):
            yield {"services": services._replace(observers=(log, metrics))}


def serve_alone(config: uvicorn.Config, announce: Callable[[], object]) -> int:
    """Serve in this process; return its exit status."""
    server = Server(config, announce)
    # As with several processes: this socket accepts IPv4 on ::, while asyncio's own would not (IPV6_V6ONLY).
    server.run([config.bind_socket()] if ":" in config.host else None)
    return 0 if server.started else STARTUP_FAILURE


def tune_gc() -> None:
    """Run the garbage collector less often, and exclude the objects that exist at startup.

    With a thousand waiting requests a collection takes a long time.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
