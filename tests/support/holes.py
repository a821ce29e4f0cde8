"""Holes that are planted for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from conftest import Server


@contextmanager
def planted(server: Server, database: str, *holes: str) -> Iterator[psycopg.Connection]:
    """Plant holes for a while, and let somebody else look at the database meanwhile."""
    with server.connect(database) as owner, owner.transaction(force_rollback=True):
        for hole in holes:
            owner.execute(hole.encode())
        yield owner
