"""Runs the parts of `make chaos` (QUICK=1: with less load), and reports what happened."""

import sys
import time
from importlib import import_module

from support.load import Report

PARTS = ("outages", "overload", "sockets", "crossing", "deploys", "fuzz")


def main() -> int:
    report = Report()
    began = time.monotonic()
    for name in sys.argv[1:] or PARTS:
        print(f"\n== {name} ({time.monotonic() - began:.0f} s)", flush=True)
        import_module(name).run(report)
    print(f"\ntook {time.monotonic() - began:.0f} s")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
