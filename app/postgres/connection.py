"""Pipelines on psycopg's connection: several statements in one round trip and one transaction.

psycopg's own pipeline() creates a cursor for each statement, and registers the socket with the event loop for
each wait. With this module, a GET costs about half of the CPU time (measured in 2026-11). This module calls
libpq's functions through the methods of psycopg.pq with the same names, in the order that PostgreSQL's manual
describes (32.4, 32.5). The socket stays registered with the event loop.

psycopg's manual lists psycopg.pq.PGconn and psycopg.adapt.Transformer, but not their methods, and it does not
list AsyncConnection.wait. tests/server/test_canaries.py fails if one of them changes. This module can be
removed when psycopg's own pipeline costs as little; psycopg's pull request 1332 is a step in that direction.
"""

import asyncio
import re
import select
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
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

# Errors of a prepared statement that no longer fits the tables or no longer exists. The transaction is rolled
# back.
StalePreparedStatement = (FeatureNotSupported, InvalidSqlStatementName)


# SQLSTATEs of failed attempts to connect, by message, since libpq does not return the SQLSTATE. The messages
# are those of PostgreSQL (postmaster.c, auth.c, postinit.c), libpq and PgBouncer. Any other message of a
# server is REFUSED, for example one that is not in English (lc_messages). The log always contains the
# message.
REFUSALS = {
    "28P01": re.compile("password authentication failed|no password supplied|SASL authentication failed"),
    "28000": re.compile(
        'pg_hba.conf|authentication failed|role ".*" does not exist|no such user|not permitted to log in|'
        "valid client certificate"
    ),
    "53300": re.compile(
        "too many |connection slots are reserved|no more connections allowed|connections exceeded"
    ),
    "57P03": re.compile("the database system is "),
    "25P04": re.compile("terminating connection due to transaction timeout"),
    "25006": re.compile("hot standby mode|session is read-only"),
    "55000": re.compile("not currently accepting connections"),
    "3D000": re.compile('database ".*" does not exist|no such database'),
    "42501": re.compile("permission denied for database"),
}
REFUSED = "08004"  # any other reason that a server or a pooler gives
# A severity, in any language, shows that a server or a pooler responded. libpq writes two spaces after it.
SEVERITY = re.compile(r"failed: [^:]+:  ")
UNREACHABLE = "08001"  # any other reason, such as a closed port, an unknown host name or a TLS error


class ConnectionLost(OperationalError):
    """The connection broke. `started` is false if the server sent an error before any result."""

    def __init__(self, *, started: bool, state: str | None = None) -> None:
        super().__init__("the connection is lost")
        self.started = started
        self.sqlstate = state or "08006"


class NoConnection(OperationalError):
    """No connection can be made. The SQLSTATE is the reason."""

    def __init__(self, state: str) -> None:
        super().__init__("no connection can be made")
        self.sqlstate = state


def state_of_refusal(error: Error) -> str:
    """Return the SQLSTATE of a failed attempt to connect."""
    said = str(error)
    found = (state for state, message in REFUSALS.items() if message.search(said))
    return error.sqlstate or next(found, REFUSED if SEVERITY.search(said) else UNREACHABLE)


class Connection(AsyncConnection[Any]):
    """psycopg's connection with pipelines that use the functions of libpq."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.adapters.register_loader("json", TextLoader)  # JSON stays text
        self.transformer = Transformer(self)
        self.names: dict[bytes, bytes] = {}  # names of prepared statements, by their SQL
        self.made = 0  # number of statements prepared so far, including failed ones
        self.taken = 0.0  # the time at which a request took it from the pool, by FairQueue.clock()
        self.due = 0.0  # the first request that ends after this time returns it to psycopg's pool
        self.loop = asyncio.get_running_loop()
        self.socket = pgconn.socket
        self.encrypted = pgconn.ssl_in_use
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        self.has_reader = False  # whether a reader callback is registered with the event loop
        self.waiting: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, *args: Any, **options: Any) -> Self:  # noqa: ANN401 - as in psycopg
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
        """Run statements in one transaction. Return the rows of the last one; raise the first error.

        On an autocommit connection a pipeline is one implicit transaction (PostgreSQL, 55.2.4). With `commit`
        the first statement must be a begin, and a commit follows the last one. If this coroutine is
        cancelled, the statement is cancelled at the server, too.
        """
        results: list[PGresult] = []
        prepared, unsent = self._send(statements, values, commit=commit)
        if unsent:
            await self._flush()
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
    ) -> tuple[list[dict[bytes, bytes]], bool]:
        """Send all statements. Return what each result will prepare, and whether data is still unsent.

        There is one dictionary for each result that the server will send. If the result is that of preparing
        a statement, the dictionary maps the SQL to the name of the prepared statement. Otherwise it is empty.
        """
        try:
            self.pgconn.enter_pipeline_mode()
            prepared = []
            for statement in statements:
                prepared += self._send_one(*positional(statement), values)
                # Over TLS, each statement is a record of its own: PgBouncer 1.21 to 1.25.2 may stop reading
                # in the middle of a record that is longer than its pkt_buf, 4096 bytes (its issue 1530).
                if self.encrypted:
                    self.pgconn.flush()
            self.pgconn.pipeline_sync()
            if commit:  # after the sync, since after an error the server skips everything up to the sync
                self.pgconn.send_query_params(b"commit", None)
                self.pgconn.pipeline_sync()
            return prepared, self.pgconn.flush() != 0
        except OperationalError as error:
            raise self._lost([]) from error

    def _send_one(
        self, statement: bytes, order: Sequence[str], values: Mapping[str, Value]
    ) -> list[dict[bytes, bytes]]:
        wire = [None if values[name] is None else str(values[name]).encode() for name in order]
        if name := self.names.get(statement):
            self.pgconn.send_query_prepared(name, wire)
            return [{}]
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(statement, wire)
            return [{}]
        # Each name is used only once, since a failed pipeline may have prepared the statement. The name
        # contains a digest of the statement, so that even behind a pooler that mixes up connections it never
        # refers to another statement.
        self.made += 1
        name = b"s%d_%s" % (self.made, sha256(statement).hexdigest()[:16].encode())
        self.pgconn.send_prepare(name, statement)
        self.pgconn.send_query_prepared(name, wire)
        return [{statement: name}, {}]

    async def _flush(self) -> None:
        """Send the queued data. Wait if the socket does not take all of it (PostgreSQL, 32.4: PQflush)."""
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
        except asyncio.CancelledError:
            self.finish()  # a pipeline that was not sent completely cannot be ended
            raise

    async def _receive(self, results: list[PGresult], syncs: int) -> None:
        """Receive results up to the given number of syncs, which end pipelines (PostgreSQL, 32.5.1.2)."""
        received = False
        try:
            while syncs := syncs - self._take(results, syncs):
                # After the first wait, poll for data first. If the connection is reset, uvloop removes the
                # reader callback without calling it.
                if not (received and self.has_input()):
                    await self._wait_readable()
                received = True
                self.pgconn.consume_input()
        except OperationalError as error:
            raise self._lost(results) from error

    def _take(self, results: list[PGresult], syncs: int) -> int:
        """Append the results that libpq has received, up to `syncs` syncs; return the number of syncs."""
        taken = 0
        ended = False  # a None ends the results of a statement; a second one means that there are no more
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
        """Close the connection; return the error, with the server's last SQLSTATE if there is one."""
        self.finish()
        refused = [result.status == ExecStatus.FATAL_ERROR for result in results] or [False]
        state = error_from_result(results[-1]).sqlstate if refused[-1] else None
        return ConnectionLost(started=not refused[0], state=state)

    def _check(self, results: Sequence[PGresult], prepared: Sequence[Mapping[bytes, bytes]]) -> None:
        """Raise the first error among the results, and remember the statements prepared before it."""
        # The results of the statements are followed by those of the syncs and of the commit.
        for number, result in enumerate(results):
            if result.status == ExecStatus.FATAL_ERROR:
                refusal = error_from_result(result)
                if isinstance(refusal, StalePreparedStatement):
                    self.names.clear()
                raise refusal
            if number < len(prepared) and prepared[number]:
                self.names |= prepared[number]

    async def _cancel(self, results: list[PGresult], syncs: int) -> None:
        """Cancel the statement at the server. Close the connection unless the server confirms it.

        Otherwise a late cancel request could hit a later statement.
        """
        cancelled = False
        received = sum(result.status == ExecStatus.PIPELINE_SYNC for result in results)
        try:
            await self.cancel_safe(timeout=CANCEL_TIMEOUT)
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._receive(results, syncs - received)
            self.pgconn.exit_pipeline_mode()
            self._check(results, [])
        except QueryCanceled:
            cancelled = True
        except (Error, TimeoutError):
            pass  # not cancelled, so the connection is closed
        finally:
            if not cancelled:
                self.finish()

    async def _wait_readable(self) -> None:
        """Wait until the socket is readable, or writable if a writer callback is registered."""
        if not self.has_reader:
            self.has_reader = True
            self.loop.add_reader(self.socket, self._wake)
        self.waiting = self.loop.create_future()
        try:
            await self.waiting
        finally:
            self.waiting = None

    def _wake(self) -> None:
        if not self.waiting:  # the server has closed an idle connection
            self._remove_reader()
        elif not self.waiting.done():
            self.waiting.set_result(None)

    def has_input(self) -> bool:
        """Return whether the socket is readable: data has arrived, or the server has closed the connection.

        An idle connection is readable if the server has closed it, or rarely, if it has sent a notice.
        """
        return bool(self.poll.poll(0))

    async def wait(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in psycopg
        """Wait as psycopg does, which registers the socket itself. The reader callback is removed first."""
        self._remove_reader()
        return await super().wait(*args, **kwargs)

    async def close(self) -> None:
        """Close the connection."""
        self._remove_reader()
        await super().close()

    def finish(self) -> None:
        """Close the socket immediately, even during a pipeline."""
        self._remove_reader()  # first, since a new socket may get the same file descriptor
        self.pgconn.finish()

    def _remove_reader(self) -> None:
        if self.has_reader:
            self.has_reader = False
            self.loop.remove_reader(self.socket)


@cache
def positional(statement: str) -> tuple[bytes, list[str]]:
    """Replace each %(name)s with $1, $2…; return the statement and the names in this order."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement).encode(), names
