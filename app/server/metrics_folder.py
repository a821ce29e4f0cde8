"""PROMETHEUS_MULTIPROC_DIR: the folder in which several processes share their metrics.

prometheus_client raises an error if the folder is missing, read-only or full, or if it contains a file in
another format. A problem with the metrics should not end the service. So each of these errors is logged, and
the rest of the metrics is served.
"""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Bytes that a process needs. If the folder is full, writing to a memory-mapped file ends the process by
# SIGBUS.
ROOM = 2**20

logger = logging.getLogger("app.server")


def usable_folder() -> Path | None:
    """Return the folder, or None if it is not set or cannot be written.

    In the latter case a warning is logged, and this process serves only its own metrics.
    """
    name = os.environ.get(VARIABLE)
    if name is None:
        return None
    folder = Path(name)
    try:
        with TemporaryFile(dir=folder) as trial:
            os.posix_fallocate(trial.fileno(), 0, ROOM)
        for file in folder.glob(f"*_{os.getpid()}.db"):  # from an earlier process with the same process id
            if _merged([file]) is None:
                file.unlink()
    except OSError as error:
        del os.environ[VARIABLE]
        logger.warning("%s: %s: %s; it is not used", VARIABLE, name, error.strerror)
        return None
    return folder


class FolderCollector(Collector):
    """Collects the metrics of all processes, or of this process if its files were deleted."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.reported: set[Path] = set()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all files except those that cannot be merged with this process's own."""
        _remove_dead_gauges(self.folder)
        files = list(self.folder.glob("*.db"))
        own = [file for file in files if file.stem.endswith(f"_{os.getpid()}")]
        if not own:
            self._report(self.folder, "the files of this process are gone; only its own metrics are served")
            return self.registry.collect()
        merged = _merged(files)
        if merged is None:
            sound = [file for file in files if _merged([*own, file]) is not None]
            for file in set(files) - set(sound):
                self._report(file, "is not a file of these metrics; it is ignored")
            merged = _merged(sound)
        return merged or self.registry.collect()

    def _report(self, path: Path, what: str) -> None:
        if path not in self.reported:
            self.reported.add(path)
            logger.warning("%s: %s: %s", VARIABLE, path, what)


def _merged(files: Iterable[Path]) -> Iterable[Metric] | None:
    """Merge files. Return None if one of them cannot be read or contradicts another."""
    try:
        merged: Iterable[Metric] = list(MultiProcessCollector.merge([str(file) for file in files]))
    except Exception:  # noqa: BLE001 - a foreign file may raise any error
        return None
    return merged


def _remove_dead_gauges(folder: Path) -> None:
    """Remove the gauges of processes that have ended. Their counters are kept."""
    for number in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        with suppress(OSError, ValueError):
            try:
                os.kill(int(number), 0)
            except ProcessLookupError:
                mark_process_dead(number, str(folder))
