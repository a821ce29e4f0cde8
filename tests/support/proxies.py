"""nginx with the configuration in app/server/deploy."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, free_port

DEPLOY = ROOT / "app" / "server" / "deploy"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or pytest.skip(f"{name.upper()} IS NOT INSTALLED: {DEPLOY} WAS NOT TESTED WITH IT")


@contextmanager
def nginx(first: int, second: int | None = None, replaced: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run nginx in front of APIs at two ports; yield its URL.

    Without `second` the second port refuses connections.
    """
    command, port, folder = program("nginx"), free_port(), Path(tempfile.mkdtemp(prefix="nginx"))
    block = (DEPLOY / "nginx.conf").read_text()
    for given, here in {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{first}",
        "127.0.0.1:8001": f"127.0.0.1:{second or free_port()}",
        **(replaced or {}),
    }.items():
        assert given in block
        block = block.replace(given, here)
    paths = "".join(f"{name}_temp_path {folder};" for name in TEMPORARY)
    (folder / "conf").write_text(
        f"daemon off; user root; worker_processes 2; pid {folder}/pid; error_log {folder}/error; events {{}}"
        f"http {{ gzip on; gzip_types application/json; gzip_min_length 1; access_log off; {paths} {block} }}"
    )
    tried = subprocess.run(
        [command, "-t", "-c", folder / "conf"], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr
    process = subprocess.Popen([command, "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    try:
        await_answer(f"http://127.0.0.1:{port}/metrics")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def await_answer(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            httpx.get(url, timeout=60)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{url} does not respond")
