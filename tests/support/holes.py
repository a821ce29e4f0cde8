"""Temporary holes in the isolation of users."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from conftest import Server


@contextmanager
def planted(server: Server, database: str, *holes: str) -> Iterator[psycopg.Connection]:
    """Run statements that make holes in a transaction; yield its connection, and roll back."""
    with server.connect(database) as owner, owner.transaction(force_rollback=True):
        for hole in holes:
            owner.execute(hole.encode())
        yield owner
