"""File locks: the kernel releases those of a process that is killed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO


def opened(file: Path) -> IO[bytes]:
    """Open a file to lock it."""
    file.parent.mkdir(mode=0o711, exist_ok=True)
    file.touch(mode=0o600)  # who may open it may lock it
    return file.open("r+b")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait for the lock, and hold it."""
    with opened(file) as lock:
        flock(lock, LOCK_EX)
        yield


def taken(lock: IO[bytes]) -> bool:
    """Take the lock for this process alone; False where another one holds it."""
    with suppress(BlockingIOError):
        flock(lock, LOCK_EX | LOCK_NB)
        return True
    return False
