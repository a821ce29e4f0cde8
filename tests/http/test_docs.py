"""The documentation page loads nothing from other origins. `make e2e` opens it in a browser."""

import asyncio
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from conftest import Api, Server, on_18
from support.starts import served


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=api.url, timeout=60) as client:
        yield client


@on_18
def test_the_root_redirects_to_the_documentation(client: httpx.Client) -> None:
    page = client.get("/", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"


@on_18
def test_the_page_loads_only_files_of_its_own_origin(client: httpx.Client) -> None:
    page = client.get("/docs")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for path in loaded:
        assert client.get(f"/{path}").status_code == 200
    assert "://" not in page.text


@on_18
def test_the_content_security_policy_allows_only_the_own_origin(
    client: httpx.Client,
) -> None:
    policy = client.get("/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    sources = {source for part in policy.split("; ") for source in part.split()[1:]}
    digest = {source for source in sources if source.startswith("'sha256-")}
    assert len(digest) == 1
    assert sources - digest == {"'none'", "'self'", "data:"}


@on_18
@pytest.mark.parametrize("name", ["__init__.py", "%2e%2e%2f__init__.py", "redoc.standalone.js"])
def test_no_other_file_of_the_package_is_served(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/docs/{name}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Path not found")


@on_18
@pytest.mark.parametrize("wanted", ["bytes=0-1", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2))])
def test_ranges_of_a_file_are_ignored(client: httpx.Client, wanted: str) -> None:
    whole = client.get("/docs/swagger-ui.css")
    answer = client.get("/docs/swagger-ui.css", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert "Accept-Ranges" not in answer.headers


def test_docs_can_be_disabled(server: Server, database: str, configure: Callable[..., None]) -> None:
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_SECRET="x" * 32, DOCS="false")

    async def statuses() -> list[int]:
        async with served() as client:
            paths = ("/", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json")
            return [(await client.get(path)).status_code for path in paths]

    assert asyncio.run(statuses()) == [404, 404, 404, 200]
