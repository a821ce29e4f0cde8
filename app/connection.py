"""Several statements in one round trip and one transaction."""

import re
import select
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

Value = str | int | bool | None
Row = tuple[Any, ...]  # of bytes or None, as PostgreSQL writes them: its JSON is passed on untouched

PARAMETER = re.compile(r"%\((\w+)\)s")

# A prepared statement does not fit the tables any more, or is gone. Nothing of the transaction was kept.
Outdated = (FeatureNotSupported, InvalidSqlStatementName)


class Lost(OperationalError):
    """The connection broke; `began` is false where the server refused before it did anything."""

    def __init__(self, *, began: bool) -> None:
        super().__init__("the connection is lost")
        self.began = began


class Connection(AsyncConnection[Any]):
    """psycopg's connection and its pipeline, without the cursors: at a third of their cost."""

    names: dict[bytes, bytes]  # of the statements prepared on this connection
    made: int

    def run(self, statements: Sequence[str], values: Mapping[str, Value]) -> PQGen[list[Row]]:
        """Return the last statement's rows, or raise the first error.

        On an autocommit connection a pipeline is one implicit transaction up to its end (PostgreSQL,
        55.2.4): all statements are kept, or none.
        """
        self.pgconn.enter_pipeline_mode()
        preparing = [name for statement in statements for name in self._send(*positional(statement), values)]
        self.pgconn.pipeline_sync()
        results: list[PGresult] = []
        try:
            yield from send(self.pgconn)
            while (result := (yield from fetch_many(self.pgconn))[0]).status != ExecStatus.PIPELINE_SYNC:
                results.append(result)
        except OperationalError as error:
            self.pgconn.finish()
            raise Lost(began=not (results and results[0].status == ExecStatus.FATAL_ERROR)) from error
        self.pgconn.exit_pipeline_mode()
        for result, prepared in zip(
            results, [*preparing, {}], strict=False
        ):  # one more where the commit fails
            if result.status == ExecStatus.FATAL_ERROR:
                refusal = error_from_result(result)
                if isinstance(refusal, Outdated):
                    self.names.clear()
                raise refusal
            self.names |= prepared
        columns = range(results[-1].nfields)
        get = results[-1].get_value
        return [tuple([get(row, column) for column in columns]) for row in range(results[-1].ntuples)]

    def stale(self) -> bool:
        """Tell whether the server has closed the connection while it was idle, without asking it.

        Only then, and rarely for a notice, is there something to read before something is sent.
        """
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))

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


async def configure(connection: Connection) -> None:
    """Start with nothing prepared."""
    connection.names, connection.made = {}, 0


@cache
def positional(statement: str) -> tuple[bytes, list[str]]:
    """Turn each %(name)s into $1, $2...; return the names in that order."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement).encode(), names
