"""Runs Node's programs and finds Chromium, for make e2e."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

E2E = ROOT / "tests" / "e2e"
BUILT = E2E / "node_modules" / ".built"


def run(*command: str | Path, within: Path = E2E, seconds: int = 180, **environment: str) -> str:
    """Run a program of npm or of PATH; return its output."""
    BUILT.mkdir(exist_ok=True)
    places = (E2E / "node_modules" / ".bin", Path(sys.executable).parent, os.environ["PATH"])
    programs = os.pathsep.join(map(str, places))
    done = subprocess.run(
        command,
        cwd=within,
        env=os.environ | {"PATH": programs} | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def bundle(source: str, *options: str) -> Path:
    """Bundle a TypeScript file with the files that it imports; return the file that was written."""
    built = BUILT / Path(source).with_suffix(".mjs").name
    run("esbuild", source, "--bundle", "--format=esm", "--log-level=warning", f"--outfile={built}", *options)
    return built


def for_node(source: str) -> Path:
    """Bundle a TypeScript file for Node, without npm packages."""
    return bundle(source, "--platform=node", "--packages=external")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("THE BROWSER PART WAS SKIPPED: Chromium is not installed")
