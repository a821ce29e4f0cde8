"""Several statements in one round trip and one transaction: pipelines, on psycopg's connection.

psycopg's own pipeline() makes a cursor for each statement, and registers the socket with the event loop for
each wait: with it a get costs 180 µs of CPU, with this module 94. So this module calls libpq's functions in
the order that PostgreSQL's manual gives (32.4, 32.5), by the methods of psycopg.pq that have their names, and
keeps the socket registered.

psycopg's manual lists psycopg.pq.PGconn and psycopg.adapt.Transformer, but not their methods, and leaves out
AsyncConnection.wait. tests/server/test_canaries.py fails when one of them changes. This module can go when
psycopg's own pipeline costs as little; psycopg's pull request 1332 is a step there.
"""

import asyncio
import re
import select
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from itertools import chain, repeat
from typing import Any, Self

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.adapt import Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, QueryCanceled, error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.string import TextLoader

Value = str | int | bool | None
Row = tuple[Any, ...]
Report = Callable[["Connection | Error"], object]

CANCEL_TIMEOUT = 2  # seconds that the server may take to cancel a statement

PARAMETER = re.compile(r"%\((\w+)\)s")

# A prepared statement does not fit the tables any more, or is gone. Nothing of the transaction was kept.
StalePreparedStatement = (FeatureNotSupported, InvalidSqlStatementName)


# libpq keeps the SQLSTATE of a refused attempt to connect to itself, so it is found by the message: those of
# PostgreSQL's postmaster.c, auth.c and postinit.c, of libpq and of PgBouncer. Where the server speaks another
# language than English (lc_messages), it is UNREACHABLE, and the log has the message.
REFUSALS = {
    "28P01": re.compile("password authentication failed|no password supplied|SASL authentication failed"),
    "28000": re.compile('pg_hba.conf|authentication failed|role ".*" does not exist|not permitted to log in'),
    "53300": re.compile("too many |connection slots are reserved|no more connections allowed"),
    "57P03": re.compile("the database system is "),
    "25006": re.compile("hot standby mode|session is read-only"),
    "55000": re.compile("not currently accepting connections"),
    "3D000": re.compile('database ".*" does not exist|no such database'),
    "42501": re.compile("permission denied for database"),
}
UNREACHABLE = "08001"  # any other reason: nothing listens there, the name is unknown, TLS fails...


class ConnectionLost(OperationalError):
    """The connection broke; `started` is false where the server refused before it did anything."""

    def __init__(self, *, started: bool, state: str | None = None) -> None:
        super().__init__("the connection is lost")
        self.started = started
        self.sqlstate = state or "08006"


class NoConnection(OperationalError):
    """No connection can be made; the SQLSTATE says why."""

    def __init__(self, state: str) -> None:
        super().__init__("no connection can be made")
        self.sqlstate = state


def state_of_refusal(error: Error) -> str:
    """Return the SQLSTATE of a refused attempt to connect."""
    found = (state for state, message in REFUSALS.items() if message.search(str(error)))
    return error.sqlstate or next(found, UNREACHABLE)


class Connection(AsyncConnection[Any]):
    """psycopg's connection, and pipelines by libpq's own functions."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.adapters.register_loader("json", TextLoader)  # as PostgreSQL made it
        self.transformer = Transformer(self)
        self.names: dict[bytes, bytes] = {}  # of the statements prepared on this connection
        self.made = 0
        self.taken = 0.0  # when a request began to use it
        self.due = 0.0  # when psycopg's pool sees to it again
        self.loop = asyncio.get_running_loop()
        self.socket = pgconn.socket
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        self.watched = False  # a reader callback is registered
        self.waiting: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, *args: Any, **options: Any) -> Self:  # noqa: ANN401 - psycopg's own
        """Connect; call `report`, if given, with the connection or the error."""
        report: Report = options.pop("report", None) or (lambda _: None)
        try:
            connection = await super().connect(*args, **options)
        except Error as error:
            report(error)
            raise
        report(connection)
        return connection

    async def execute_pipeline(
        self, statements: Sequence[str], values: Mapping[str, Value], *, commit: bool = False
    ) -> list[Row]:
        """Return the last statement's rows as Python values, or raise the first error.

        On an autocommit connection a pipeline is one implicit transaction up to its end (PostgreSQL,
        55.2.4), or the block that its first statement begins and `commit` ends: all statements are kept,
        or none. When this is cancelled, so is what the server does.
        """
        prepared = self._send(statements, values, commit=commit)
        try:
            await self._flush()
        except asyncio.CancelledError:
            self.finish()  # what was not sent whole cannot be ended
            raise
        results: list[PGresult] = []
        try:
            await self._receive(results, 1 + commit)
        except asyncio.CancelledError:
            await self._cancel(results, 1 + commit)
            raise
        self.pgconn.exit_pipeline_mode()
        self._check(results, prepared)
        result = results[len(prepared) - 1]
        self.transformer.set_pgresult(result)
        return self.transformer.load_rows(0, result.ntuples, tuple)

    def _send(
        self, statements: Sequence[str], values: Mapping[str, Value], *, commit: bool
    ) -> list[dict[bytes, bytes]]:
        """Give libpq all statements to send; return what each of their results has prepared."""
        try:
            self.pgconn.enter_pipeline_mode()
            prepared = [p for statement in statements for p in self._send_one(*positional(statement), values)]
            self.pgconn.pipeline_sync()
            if commit:  # after the sync: up to it, what follows an error is skipped, a rollback too
                self.pgconn.send_query_params(b"commit", None)
                self.pgconn.pipeline_sync()
        except OperationalError as error:
            raise self._lost([]) from error
        return prepared

    def _send_one(
        self, statement: bytes, order: Sequence[str], values: Mapping[str, Value]
    ) -> list[dict[bytes, bytes]]:
        wire = [None if values[name] is None else str(values[name]).encode() for name in order]
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(statement, wire)
            return [{}]
        if name := self.names.get(statement):
            self.pgconn.send_query_prepared(name, wire)
            return [{}]
        # Each name is used once, since it may be taken although the pipeline failed. It holds a digest of the
        # statement, so that a pooler that mixes connections up never runs another statement.
        self.made += 1
        name = b"s%d_%s" % (self.made, sha256(statement).hexdigest()[:16].encode())
        self.pgconn.send_prepare(name, statement)
        self.pgconn.send_query_prepared(name, wire)
        return [{statement: name}, {}]

    async def _flush(self) -> None:
        """Send what the socket does not take at once (PostgreSQL, 32.4: PQflush)."""
        try:
            while self.pgconn.flush():
                self.loop.add_writer(self.socket, self._wake)
                try:
                    await self._wait_readable()
                finally:
                    self.loop.remove_writer(self.socket)
                if self.has_input():
                    self.pgconn.consume_input()
        except OperationalError as error:
            raise self._lost([]) from error

    async def _receive(self, results: list[PGresult], syncs: int) -> None:
        """Append the results up to so many syncs, the ends of pipelines (PostgreSQL, 32.5.1.2)."""
        syncs -= sum(result.status == ExecStatus.PIPELINE_SYNC for result in results)
        received = False
        try:
            while syncs := syncs - self._take(results, syncs):
                # There may be more by now, or the end: at a reset uvloop ends the watch without a word.
                if not (received and self.has_input()):
                    await self._wait_readable()
                received = True
                self.pgconn.consume_input()
        except OperationalError as error:
            raise self._lost(results) from error

    def _take(self, results: list[PGresult], syncs: int) -> int:
        """Append the results that libpq has, up to so many syncs; return how many syncs there were."""
        taken = 0
        ended = False  # one None ends the results of a statement, a second one all of them
        while taken < syncs and not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is not None:
                results.append(result)
                taken += result.status == ExecStatus.PIPELINE_SYNC
            elif ended:
                raise OperationalError("there are fewer results than statements")
            ended = result is None
        return taken

    def _lost(self, results: Sequence[PGresult]) -> ConnectionLost:
        """Close the connection; return the error, with the reason if the server gave one at last."""
        self.finish()
        refused = [result.status == ExecStatus.FATAL_ERROR for result in results] or [False]
        state = error_from_result(results[-1]).sqlstate if refused[-1] else None
        return ConnectionLost(started=not refused[0], state=state)

    def _check(self, results: Sequence[PGresult], prepared: Sequence[Mapping[bytes, bytes]]) -> None:
        """Note what was prepared; raise the first error."""
        # Behind the statements come the syncs, and a commit or what the implicit one failed of.
        for result, names in zip(results, chain(prepared, repeat({})), strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                refusal = error_from_result(result)
                if isinstance(refusal, StalePreparedStatement):
                    self.names.clear()
                raise refusal
            if names:
                self.names |= names

    async def _cancel(self, results: list[PGresult], syncs: int) -> None:
        """Have the statement cancelled. Only where it is, no later statement can be hit by this."""
        cancelled = False
        try:
            await self.cancel_safe(timeout=CANCEL_TIMEOUT)
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._receive(results, syncs)
            self.pgconn.exit_pipeline_mode()
            self._check(results, [])
        except QueryCanceled:
            cancelled = True
        except (Error, TimeoutError):
            pass  # as where it was not cancelled
        finally:
            if not cancelled:
                self.finish()

    async def _wait_readable(self) -> None:
        """Wait until there is something to read, or the socket takes more where that is waited for."""
        if not self.watched:
            self.watched = True
            self.loop.add_reader(self.socket, self._wake)
        self.waiting = self.loop.create_future()
        try:
            await self.waiting
        finally:
            self.waiting = None

    def _wake(self) -> None:
        if not self.waiting:  # the server closes an idle connection
            self._unwatch()
        elif not self.waiting.done():
            self.waiting.set_result(None)

    def has_input(self) -> bool:
        """Return whether there is something to read by now: a part of a result, or the end.

        While the connection is idle it is the end, or rarely a notice.
        """
        return bool(self.poll.poll(0))

    async def wait(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - psycopg's own
        """Let psycopg wait, which watches the socket in its own way."""
        self._unwatch()
        return await super().wait(*args, **kwargs)

    async def close(self) -> None:
        """Close the connection."""
        self._unwatch()
        await super().close()

    def finish(self) -> None:
        """Close the socket at once, whatever goes on."""
        self._unwatch()  # before another socket gets this number
        self.pgconn.finish()

    def _unwatch(self) -> None:
        if self.watched:
            self.watched = False
            self.loop.remove_reader(self.socket)


@cache
def positional(statement: str) -> tuple[bytes, list[str]]:
    """Turn each %(name)s into $1, $2...; return the names in that order."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement).encode(), names
