"""The log: a line for each request and for each error of the database.

It never contains a token, a password or the text of a task. A line contains the path template of the route,
and the user in the form that LOG_USERS sets. Messages of exceptions are left out, since they may repeat
input.
"""

import json
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from time import time_ns
from typing import Any

from app.api.errors import DEFECT
from app.api.state import Exchange
from app.server.log_writer import LogWriter
from app.settings import Settings

# These lines do not pass through logging, at a third of its cost. The values need no escaping: the request id
# is validated, the parser accepts only known methods, and the user is JSON.
REQUEST = {
    "json": '{"time": "%s.%03d+00:00", "level": "%s", "request": "%s", "method": "%s", "route": "%s", '
    '"status": %d, "ms": %.2f, "user": %s}\n',
    "plain": "%s.%03d+00:00 %s request %s: %s %s %d in %.2f ms, user %s\n",
}
# Written instead of the user if the token was refused.
REFUSED = {"json": 'null, "refused": "%s"', "plain": "null, token refused: %s"}


class LineFormatter(logging.Formatter):
    """Formats a record as plain text."""

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the time as ISO 8601 in UTC, with milliseconds."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def formatException(self, error: Any) -> str:  # noqa: ANN401, N802 - logging's own
        """Return the traceback and the type of an exception, without its message."""
        kind, _, trace = error
        return "".join([*traceback.format_tb(trace), kind.__name__])


class JsonFormatter(LineFormatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, object] = {"time": self.formatTime(record), "level": record.levelname.lower()}
        line["message"] = record.getMessage().strip()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def config(settings: Settings) -> dict[str, Any]:
    """Return the configuration of logging, which uvicorn applies in each process."""
    formatter = {
        "json": {"()": JsonFormatter},
        "plain": {"()": LineFormatter, "fmt": "%(asctime)s %(levelname)s %(message)s"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter[settings.log_format]},
        "handlers": {"stderr": {"()": LogWriter, "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "app": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
            # It logs each failed attempt to connect; app/postgres/pool.py logs only changes.
            "psycopg.pool": {"level": "ERROR"},
        },
    }


MAX_PSEUDONYMS = 16384  # cached pseudonyms


@lru_cache(MAX_PSEUDONYMS)
def hashed(user: str) -> str:
    """Return the pseudonym of a user as JSON: the first 16 hex digits of the SHA-256 of the id."""
    return f'"{sha256(user.encode()).hexdigest()[:16]}"'


# The user as JSON, by LOG_USERS.
USERS: dict[str, Callable[[str], str]] = {
    "id": json.dumps,
    "hash": hashed,
    "none": lambda _: "null",
}


PROBES = ("/health", "/ready", "/metrics")  # polled frequently, so only changes of the status are logged


@lru_cache(1)
def second(time: int) -> str:
    """Return a timestamp without fractions of a second. It is cached, since formatting takes 2 µs."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class RequestLog:
    """Formats one line per request and passes it to the writer."""

    def __init__(self, settings: Settings, writer: LogWriter) -> None:
        self.writer = writer
        self.user, self.line = USERS[settings.log_users], REQUEST[settings.log_format]
        self.refused = REFUSED[settings.log_format]
        self.probed: dict[str, int] = {}

    def __call__(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Log a request."""
        path, user, refused = exchange.route, exchange.user, exchange.refused
        if path in PROBES:
            if self.probed.get(path) == status:
                return
            self.probed[path] = status
        now, milliseconds = divmod(time_ns() // 1_000_000, 1000)
        fields = (
            second(now),
            milliseconds,
            "error" if status == DEFECT else "info",
            exchange.request_id,
            exchange.method,
            path,
            status,
            seconds * 1000,
            self.user(user) if user else self.refused % refused if refused else "null",
        )
        self.writer.put(self.line % fields)
