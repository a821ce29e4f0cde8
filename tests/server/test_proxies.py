"""KEEP_ALIVE and ROOT_PATH for proxies, and ETags behind Apache."""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
from conftest import ROOT, Server, free_port, on_18, serving
from support.proxies import await_answer, program

PREFIX = "/to%20do/v1"


@on_18
def test_an_idle_connection_is_closed_after_keep_alive(server: Server, database: str) -> None:
    with serving(server.conninfo(database, "tasks_api"), KEEP_ALIVE="1") as api:
        address = urlsplit(api.url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while piece := client.recv(65536):  # the client would time out before the default of 75 seconds
                received += piece
        assert received.startswith(b"HTTP/1.1 200")
        assert b"connection: close" not in received.lower()


@on_18
def test_every_address_contains_the_prefix_that_a_proxy_removes(server: Server, database: str) -> None:
    """The proxy removes the prefix from paths, and responses contain it."""
    with serving(server.conninfo(database, "tasks_api"), ROOT_PATH=PREFIX) as api:
        headers = {"Authorization": f"Bearer {api.token('pre/fix')}"}
        url = f"{api.url}/api/pre%2Ffix/tasks"
        made = [httpx.post(url, headers=headers, json={"title": title}, timeout=60) for title in "ab"]
        numbers = [answer.json()["id"] for answer in made]
        there = f"{PREFIX}/api/pre%2Ffix/tasks"
        assert [answer.headers["Location"] for answer in made] == [f"{there}/{n}" for n in numbers]
        page = httpx.get(url, headers=headers, params={"limit": 1}, timeout=60)
        (link,) = re.findall(r'<(.*)>; rel="next"', page.headers["Link"])
        assert link.startswith(f"{there}?limit=1&cursor=")
        following = httpx.get(f"{api.url}{link.removeprefix(PREFIX)}", headers=headers, timeout=60)
        assert [task["title"] for task in following.json()] == ["a"]
        assert (
            httpx.get(f"{api.url}{PREFIX}/health", timeout=60).status_code == 404
        )  # a proxy that does not remove the prefix

        assert httpx.get(f"{api.url}/openapi.json", timeout=60).json()["servers"] == [{"url": PREFIX}]
        outside = f"https://example.org{PREFIX}"
        root = httpx.get(f"{api.url}/", timeout=60)
        assert urljoin(f"{outside}/", root.headers["Location"]) == f"{outside}/docs"
        docs = httpx.get(f"{api.url}/docs", timeout=60).text
        names = re.findall(r'(?:href|src)="([^"]+)"', docs) + re.findall(r'url: "([^"]+)"', docs)
        assert len(names) == 4
        for name in names:
            there = urljoin(f"{outside}/docs", name)
            assert there.startswith(outside)
            assert httpx.get(f"{api.url}{there.removeprefix(outside)}", timeout=60).status_code == 200


APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/error
ServerName localhost
Listen 127.0.0.1:{port}
User www-data
Group www-data
{modules}
AddOutputFilterByType DEFLATE application/json
AllowEncodedSlashes NoDecode
ProxyPass / {url}/ nocanon
{directive}
"""
MODULES = Path("/usr/lib/apache2/modules")
NAMES = ("mpm_event", "authz_core", "proxy", "proxy_http", "filter", "deflate", "setenvif")
README = (ROOT / "app" / "server" / "README.md").read_text()


@contextmanager
def apache(url: str, directive: str) -> Iterator[str]:
    """Run Apache in front of an API; yield its address."""
    command, port, folder = program("apache2"), free_port(), Path(tempfile.mkdtemp(prefix="apache"))
    folder.chmod(0o755)
    modules = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in NAMES)
    values = {"folder": folder, "port": port, "url": url, "directive": directive, "modules": modules}
    (folder / "conf").write_text(APACHE.format(**values))
    process = subprocess.Popen(
        [command, "-f", folder / "conf", "-DFOREGROUND"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_answer(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


@on_18
def test_apache_changes_etags_unless_the_directive_of_the_readme_is_there(
    server: Server, database: str
) -> None:
    (directive,) = re.findall(r"`(SetEnvIf [^`]+)`", README)
    with serving(server.conninfo(database, "tasks_api")) as api:
        headers = {"Authorization": f"Bearer {api.token('a/pache')}"}
        made = httpx.post(
            f"{api.url}/api/a%2Fpache/tasks",
            headers=headers,
            json={"title": "x", "description": "y" * 999},
            timeout=60,
        )
        path, headers = made.headers["Location"], headers | {"If-Match": '"1"'}
        with apache(api.url, "") as url:
            assert httpx.get(f"{url}{path}", headers=headers, timeout=60).headers["ETag"] != '"1"'
        with apache(api.url, directive) as url:
            assert httpx.get(f"{url}{path}", headers=headers, timeout=60).headers["ETag"] == '"1"'
            changed = httpx.put(f"{url}{path}", headers=headers, json={"title": "z"}, timeout=60)
            assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
