"""What an operator reads: a line for each request and each error of the database.

Never a token, a password or a task's text: routes are named by template, users as LOG_USERS says, and of
an exception the messages, which may repeat what was sent, are left out.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from app.api.state import Exchange
from app.server.log_writer import LogWriter
from app.settings import Settings

# Written without logging's machinery, at a third of its cost. What is filled in needs no escaping: the
# request id is checked, the method one the parser knows, the user made JSON.
REQUEST = {
    "json": '{"time": "%s", "level": "%s", "request": "%s", "method": "%s", "route": "%s", '
    '"status": %d, "ms": %.2f, "user": %s}\n',
    "plain": "%s %s request %s: %s %s %d in %.2f ms, user %s\n",
}
# Written instead of the user.
REFUSED = {"json": 'null, "refused": "%s"', "plain": "null, token refused: %s"}


class Line(logging.Formatter):
    """One line for people."""

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802 - logging's name
        """Write the time as in the API, to the millisecond."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def formatException(self, error: Any) -> str:  # noqa: ANN401, N802 - logging's own
        """Say what was raised, and where."""
        kind, _, trace = error
        return "".join([*traceback.format_tb(trace), kind.__name__])


class JsonLine(Line):
    """One JSON object for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the same, by name."""
        line: dict[str, object] = {"time": self.formatTime(record), "level": record.levelname.lower()}
        line["message"] = record.getMessage().strip()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def config(settings: Settings) -> dict[str, Any]:
    """Make the configuration of Python's logging; uvicorn gives it to each of its processes."""
    formatter = {
        "json": {"()": JsonLine},
        "plain": {"()": Line, "fmt": "%(asctime)s %(levelname)s %(message)s"},
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
            # It repeats every failed attempt to connect, of which app/postgres/pool.py logs what is new.
            "psycopg.pool": {"level": "ERROR"},
        },
    }


MAX_PSEUDONYMS = 16384  # of the users who asked last, which are kept


@lru_cache(MAX_PSEUDONYMS)
def hashed(user: str) -> str:
    """Return a pseudonym as JSON, the same in every process, which an operator can compute from the id."""
    return f'"{sha256(user.encode()).hexdigest()[:16]}"'


# As JSON.
USERS: dict[str, Callable[[str], str]] = {
    "id": json.dumps,
    "hash": hashed,
    "none": lambda _: "null",
}


PROBES = ("/health", "/ready", "/metrics")  # asked all the time: only a change is news


class RequestLog:
    """Gives the lines of the requests that one turn of the event loop answers to the writer, all at once."""

    def __init__(self, settings: Settings, writer: LogWriter) -> None:
        self.writer = writer
        self.user, self.line = USERS[settings.log_users], REQUEST[settings.log_format]
        self.refused = REFUSED[settings.log_format]
        self.lines: list[str] = []
        self.probed: dict[str, int] = {}

    def __call__(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Have the line written when the response is sent."""
        path, user, refused = exchange.route, exchange.user, exchange.refused
        if path in PROBES:
            if self.probed.get(path) == status:
                return
            self.probed[path] = status
        fields = (
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            "error" if status == 500 else "info",  # noqa: PLR2004 - a defect
            exchange.request_id,
            exchange.method,
            path,
            status,
            seconds * 1000,
            self.user(user) if user else self.refused % refused if refused else "null",
        )
        if not self.lines:
            asyncio.get_running_loop().call_soon(self.write)
        self.lines.append(self.line % fields)

    def write(self) -> None:
        """Have the lines written."""
        lines, self.lines = self.lines, []
        self.writer.put(lines)
