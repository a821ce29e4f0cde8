"""Several statements in one round trip and one transaction."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from typing import Any, Self

from psycopg import Error, OperationalError
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, QueryCanceled, error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.string import TextLoader
from psycopg.waiting import READY_R

from app.postgres.socket import WatchedConnection

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


class Connection(WatchedConnection):
    """psycopg's connection and its pipeline, without the cursors: at a third of their cost."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.adapters.register_loader("json", TextLoader)  # as PostgreSQL made it
        self.transformer = Transformer(self)
        self.names: dict[bytes, bytes] = {}  # of the statements prepared on this connection
        self.made = 0
        self.taken = 0.0  # when a request began to use it
        self.taken = 0.0  # when a request began to use it
        self.due = 0.0  # when psycopg's pool sees to it again

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
        try:
            self.pgconn.enter_pipeline_mode()
            preparing = [p for statement in statements for p in self._send(*positional(statement), values)]
            self.pgconn.pipeline_sync()
            if commit:  # after the sync: up to it, what follows an error is skipped, a rollback too
                self.pgconn.send_query_params(b"commit", None)
                self.pgconn.pipeline_sync()
            if self.pgconn.flush():  # more than the socket takes at once
                await self.wait(send(self.pgconn))
        except OperationalError as error:
            self.finish()
            raise ConnectionLost(started=True) from error
        answer = self._answer(preparing, 1 + commit)
        try:
            next(answer)
            while True:
                await self.wait_readable()
                answer.send(READY_R)
                while self.has_input():  # more, or the end: at a reset uvloop ends the watch without a word
                    answer.send(READY_R)
        except StopIteration as answered:
            result: PGresult = answered.value
            self.transformer.set_pgresult(result)
            return self.transformer.load_rows(0, result.ntuples, tuple)
        except asyncio.CancelledError:
            await self._cancel(answer)
            raise

    def _answer(self, preparing: Sequence[Mapping[bytes, bytes]], syncs: int) -> PQGen[PGresult]:
        results: list[PGresult] = []
        try:
            while syncs:
                results.append((yield from fetch_many(self.pgconn))[0])
                syncs -= results[-1].status == ExecStatus.PIPELINE_SYNC
        except OperationalError as error:
            self.finish()
            refused = bool(results) and results[0].status == ExecStatus.FATAL_ERROR
            last = results[-1] if results and results[-1].status == ExecStatus.FATAL_ERROR else None
            state = error_from_result(last).sqlstate if last else None
            raise ConnectionLost(started=not refused, state=state) from error
        self.pgconn.exit_pipeline_mode()
        # Then come the syncs, and a commit or what the implicit one failed of.
        for result, prepared in zip(results, [*preparing, {}, {}, {}], strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                refusal = error_from_result(result)
                if isinstance(refusal, StalePreparedStatement):
                    self.names.clear()
                raise refusal
            self.names |= prepared
        return results[len(preparing) - 1]

    def _send(
        self, statement: bytes, order: Sequence[str], values: Mapping[str, Value]
    ) -> list[dict[bytes, bytes]]:
        """Send a statement, prepared where that is on; return what each of its results has prepared."""
        wire = [None if values[name] is None else str(values[name]).encode() for name in order]
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(statement, wire)
            return [{}]
        if name := self.names.get(statement):
            self.pgconn.send_query_prepared(name, wire)
            return [{}]
        # No name twice, it may be taken although the pipeline failed; and none for two statements, lest a
        # pooler that mixes connections up runs another one.
        self.made += 1
        name = b"s%d_%s" % (self.made, sha256(statement).hexdigest()[:16].encode())
        self.pgconn.send_prepare(name, statement)
        self.pgconn.send_query_prepared(name, wire)
        return [{statement: name}, {}]

    async def _cancel(self, answer: PQGen[PGresult]) -> None:
        """Have the statement cancelled. Only where it is, no later statement can be hit by this."""
        with suppress(Error):
            try:
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                await self.wait(answer, timeout=CANCEL_TIMEOUT)
            except QueryCanceled:
                return
        self.finish()


@cache
def positional(statement: str) -> tuple[bytes, list[str]]:
    """Turn each %(name)s into $1, $2...; return the names in that order."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement).encode(), names
