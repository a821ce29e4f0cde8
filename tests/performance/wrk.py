"""Runs wrk, which needs a tenth of the CPU time of the services that it measures."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Self

SCRIPT = Path(__file__).with_name("load.lua")
WARM_UP = 3  # clock seconds that `steady` excludes; the first is a partial one
INSTALL = ["apt-get", "install", "--yes", "--quiet", "wrk"]


@dataclass(frozen=True)
class Load:
    """The result of a run. Latencies are in ms; `refused` counts statuses from 400 on, `broken` lost ones."""

    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    refused: int
    broken: int
    sent: list[int]  # number of requests in each clock second

    @property
    def rate(self) -> float:
        """Successful responses per second."""
        return (self.requests - self.refused) / self.seconds

    @property
    def steady(self) -> float:
        """Successful responses per second after WARM_UP. Requests are counted: each follows a response."""
        seconds = self.sent[WARM_UP:-1]
        return (sum(seconds) - self.refused) / len(seconds)

    def relative_to(self, *others: Self) -> tuple[float, float]:
        """Return `steady` and `rate` as multiples of the means of other loads.

        The others are those before and after it, since the speed of a shared machine changes within minutes.
        """
        steady, rate = mean(other.steady for other in others), mean(other.rate for other in others)
        return self.steady / steady, self.rate / rate

    @property
    def errors(self) -> int:
        return self.refused + self.broken


def ensure() -> None:
    """Install wrk if it is missing. If this is not possible, end the process."""
    if not shutil.which("wrk") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, stdout=subprocess.DEVNULL)
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk (Debian, Ubuntu), dnf install wrk, brew install wrk")


def run(
    url: str, requests: Iterable[bytes], *, connections: int = 16, seconds: float = 2, think: int = 0
) -> Load:
    """Send requests on persistent connections, with a mean pause of `think` ms before each request."""
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(b"%d\n%b\n" % (len(request), request) for request in requests)
        file.flush()
        timing = [f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-t1", f"-c{connections}"]
        output = subprocess.run(
            ["wrk", *timing, "-s", SCRIPT, url, "--", file.name],
            env=os.environ | {"THINK": str(think)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return Load(**json.loads(output.splitlines()[-1]))
