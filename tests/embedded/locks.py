"""File locks, which the kernel releases if a process is killed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO


def opened(file: Path) -> IO[bytes]:
    """Open a file to lock it."""
    file.parent.mkdir(mode=0o711, exist_ok=True)
    file.touch(mode=0o600)  # others may not open it, since opening is enough to lock it
    return file.open("r+b")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait for the lock and hold it."""
    with opened(file) as lock:
        flock(lock, LOCK_EX)
        yield


def taken(lock: IO[bytes]) -> bool:
    """Try to take an exclusive lock; return False if another process holds it."""
    with suppress(BlockingIOError):
        flock(lock, LOCK_EX | LOCK_NB)
        return True
    return False
