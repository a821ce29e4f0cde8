"""Prometheus metrics at /metrics, for this process or, with PROMETHEUS_MULTIPROC_DIR, for all processes."""

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import product
from time import monotonic

from fastapi import APIRouter
from fastapi.routing import APIRoute
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.api.errors import DEFECT, METHODS, POOL_REFUSED, SQLSTATES
from app.api.routing import operations_of
from app.api.state import Exchange
from app.identity import Reason
from app.postgres.connection import REFUSALS, REFUSED, UNREACHABLE
from app.postgres.pool import Pool
from app.server.log_writer import LogWriter
from app.server.metrics_folder import FolderCollector, usable_folder

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COUNTED = {*METHODS, "OPTIONS"}
OTHER = "-"  # the label of all other methods; a client can invent methods, and each label value takes memory

SAMPLE_INTERVAL = 1  # seconds between samples of the pool; another process may serve the gauges at any time
MAX_RENDERINGS = 5  # in a second


class Metrics:
    """Counts requests and errors, and samples the pool and the log."""

    def __init__(self, log: LogWriter) -> None:
        folder = usable_folder()
        # prometheus_client decides at import whether processes share their values. It was imported before the
        # fork, when the folder was not set yet, so the decision is made again here (client_python #886 asks
        # for a public API). If each worker imported the library itself, each would need the memory for it.
        values.ValueClass = values.get_value_class()
        registry = CollectorRegistry()
        self.shown = registry
        if folder:
            self.shown = CollectorRegistry()
            self.shown.register(FolderCollector(folder, registry))
        labels = ["method", "route", "status"]
        self.requests = Counter("tasks_requests", "Responses.", labels, registry=registry)
        self.seconds = Histogram(
            "tasks_request_seconds", "Duration of requests.", labels[:2], buckets=BUCKETS, registry=registry
        )
        self.errors = Counter(
            "tasks_database_errors", "Requests with a database error.", ["sqlstate"], registry=registry
        )
        self.refused = Counter(
            "tasks_pool_refused", "Requests refused because all connections were busy.", registry=registry
        )
        self.log, self.dropped_before = log, 0
        self.dropped = Counter(
            "tasks_log_lines_dropped", "Lines of the log that could not be written.", registry=registry
        )
        self.tokens = Counter(
            "tasks_tokens_refused", "Requests whose token was refused.", ["reason"], registry=registry
        )
        self.connects = Counter(
            "tasks_connect_errors", "Attempts to connect that failed.", ["sqlstate"], registry=registry
        )
        self.connects_seen: Tally[str] = Tally()
        self.pool = {
            name: Gauge(f"tasks_{name}", text, registry=registry, multiprocess_mode="livesum")
            for name, text in (
                ("pool_size", "Connections to the database."),
                ("pool_available", "Idle connections."),
                ("requests_waiting", "Requests that wait for a connection."),
            )
        }
        self.children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.rendered_since, self.renderings, self.text = 0.0, 0, b""

    def show_zeros(self, routers: Iterable[APIRouter]) -> None:
        """Create all documented time series with 0, since rate() needs two values of a series."""
        for route in operations_of(routers):
            statuses = {route.status_code or 200, DEFECT, *map(int, route.responses)}
            for key in product(route.methods or (), [route.path], statuses):
                self.child(key)
        for state in SQLSTATES:
            self.errors.labels(state.ljust(5, "0"))
        for reason in Reason:
            self.tokens.labels(reason)
        for state in (*REFUSALS, REFUSED, UNREACHABLE):
            self.errors.labels(state)
            self.connects.labels(state)

    def child(self, key: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        """Return the counter and the histogram for a method, route and status."""
        if key not in self.children:
            self.children[key] = self.requests.labels(*key), self.seconds.labels(*key[:2])
        return self.children[key]

    def __call__(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count a request."""
        method = exchange.method if exchange.method in COUNTED else OTHER
        requests, duration = self.child((method, exchange.route, status))
        requests.inc()
        duration.observe(seconds)
        if (failure := exchange.failure) is not None:
            (self.errors.labels(failure) if failure != POOL_REFUSED else self.refused).inc()
        if (reason := exchange.refused) is not None:
            self.tokens.labels(reason).inc()

    @asynccontextmanager
    async def sampling(self, pool: Pool) -> AsyncIterator[None]:
        """Sample the pool periodically during the block."""
        task = asyncio.create_task(self.sample_often(pool))
        yield
        task.cancel()

    async def sample_often(self, pool: Pool) -> None:
        """Sample the pool until cancelled."""
        while True:
            self.sample(pool)
            await asyncio.sleep(SAMPLE_INTERVAL)

    def sample(self, pool: Pool) -> None:
        """Update the metrics of the pool and the log."""
        stats = pool.get_stats()
        for name, gauge in self.pool.items():
            gauge.set(stats.get(name, 0))
        dropped = self.log.dropped
        self.dropped.inc(dropped - self.dropped_before)
        self.dropped_before = dropped
        for state, number in (pool.failures - self.connects_seen).items():
            self.connects.labels(state).inc(number)
        self.connects_seen = pool.failures.copy()

    def render(self, pool: Pool) -> bytes:
        """Return the metrics in Prometheus' text format.

        They are rendered at most MAX_RENDERINGS times in a second, and the last rendering is returned
        otherwise. The request needs no token, and rendering takes ten times as long as an ordinary response.
        """
        now = monotonic()
        if now - self.rendered_since >= 1:
            self.rendered_since, self.renderings = now, 0
        if self.renderings < MAX_RENDERINGS:
            self.renderings += 1
            self.sample(pool)
            self.text = generate_latest(self.shown)
        return self.text

    def route(self, pool: Pool) -> BaseRoute:
        """Return the route of /metrics."""

        async def get_metrics() -> Response:
            return Response(self.render(pool), media_type=CONTENT_TYPE_LATEST)

        return APIRoute("/metrics", get_metrics, include_in_schema=False)
