"""One process, or several that share the port and end together."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.settings import Settings

# A file that is there as soon as one of several processes serves. Another that finds the database away then
# has not been started wrongly: it ends with a status that makes the parent start it again.
SERVED = "TASKS_SERVED"
AGAIN = 75  # EX_TEMPFAIL; uvicorn's STARTUP_FAILURE would end them all


def one(config: uvicorn.Config) -> int:
    """Serve in this process; return its exit status."""
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else STARTUP_FAILURE


def several(config: uvicorn.Config, settings: Settings) -> int:
    """Serve in processes of their own; where one is refused its start, end them all."""
    with TemporaryDirectory() as folder:
        if settings.metrics:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[SERVED] = f"{folder}/served"
        supervisor = Multiprocess(config, [config.bind_socket()])
        supervisor.run()
    refused = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if refused else 0


def tell_the_others() -> None:
    """Note that one of several processes serves."""
    if SERVED in os.environ:
        Path(os.environ[SERVED]).touch()


def another_serves() -> bool:
    """Tell whether one of several processes has served already."""
    return SERVED in os.environ and Path(os.environ[SERVED]).exists()


async def start_again() -> None:
    """End this process, in a moment, so that the parent starts another."""
    await asyncio.sleep(1)
    os._exit(AGAIN)
