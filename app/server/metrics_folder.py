"""The folder in which several processes count together: PROMETHEUS_MULTIPROC_DIR.

prometheus_client raises where the folder is missing, read-only or full, and where it holds a file that is not
its own. Here each of these is a line in the log: what can be counted is counted.
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
ROOM = 2**20  # bytes that a process needs; in a full folder, writing to a file in memory ends it by SIGBUS

logger = logging.getLogger("app.server")


def usable_folder() -> Path | None:
    """Return the folder; where it cannot be written, say so and have this process count by itself."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return None
    folder = Path(name)
    try:
        with TemporaryFile(dir=folder) as trial:
            os.posix_fallocate(trial.fileno(), 0, ROOM)
        for file in folder.glob(f"*_{os.getpid()}.db"):  # of a process that had this one's number
            if _merged([file]) is None:
                file.unlink()
    except OSError as error:
        del os.environ[VARIABLE]
        logger.warning("%s: %s: %s; it is not used", VARIABLE, name, error.strerror)
        return None
    return folder


class FolderCollector(Collector):
    """Collects the numbers of all processes, or of this one where the folder has been emptied."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.reported: set[Path] = set()

    def collect(self) -> Iterable[Metric]:
        """Return the numbers, without the files that cannot be read together with this process's own."""
        _forget_the_dead(self.folder)
        files = list(self.folder.glob("*.db"))
        own = [file for file in files if file.stem.endswith(f"_{os.getpid()}")]
        if not own:
            self._report(self.folder, "the files of this process have gone; its numbers alone are shown")
            return self.registry.collect()
        merged = _merged(files)
        if merged is None:
            sound = [file for file in files if _merged([*own, file]) is not None]
            for file in set(files) - set(sound):
                self._report(file, "is not a file of these metrics; it is left out")
            merged = _merged(sound)
        return merged or self.registry.collect()

    def _report(self, path: Path, what: str) -> None:
        if path not in self.reported:
            self.reported.add(path)
            logger.warning("%s: %s: %s", VARIABLE, path, what)


def _merged(files: Iterable[Path]) -> Iterable[Metric] | None:
    """Merge files; return None where one of them cannot be read or contradicts another one."""
    try:
        merged: Iterable[Metric] = list(MultiProcessCollector.merge([str(file) for file in files]))
    except Exception:  # noqa: BLE001 - whatever parsing a foreign file raises
        return None
    return merged


def _forget_the_dead(folder: Path) -> None:
    """Remove the gauges of processes that have ended; what they counted stays."""
    for number in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        with suppress(OSError, ValueError):
            try:
                os.kill(int(number), 0)
            except ProcessLookupError:
                mark_process_dead(number, str(folder))
