"""The links and make targets in all pages exist, and the limits in their tables are those of the code."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

from app.api import edge, parameters
from app.identity import fetch
from app.postgres import connection, database, deadline, fair_queue
from app.server import protocol, run, supervisor

PAGES = sorted(
    page
    for folder in ("", "app", "sql", "tests")
    for page in (ROOT / folder).glob("*.md" if not folder else "**/*.md")
    if "node_modules" not in page.parts
)
OPERATORS = (ROOT / "app" / "server" / "README.md").read_text()
CODE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)>\s]+)>?\)")
TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)

# The first words of each row in the table of time limits, and its seconds.
LIMITS = {
    "the client sends its request": protocol.CLIENT_TIMEOUT,
    "the key of a token is fetched": fetch.FETCH_TIMEOUT,
    "the request waits for its turn": fair_queue.MAX_WAIT,
    "it waits for a new connection": database.POOL_TIMEOUT,
    "the network to the database does not respond": int(str(database.DEFAULTS["tcp_user_timeout"])) // 1000,
    "the whole request, from the queue to the result": deadline.TIME_LIMIT,
    "a cancel request, if the database does not respond": 2 * connection.CANCEL_TIMEOUT,
    "the client reads": protocol.CLIENT_TIMEOUT,
    "accepted requests, after SIGTERM": run.SHUTDOWN_TIMEOUT,
    "the exit of a process, after SIGTERM": run.SHUTDOWN_TIMEOUT + supervisor.STOP_MARGIN,
}
SIZES = {
    "header fields": f"{edge.MAX_FIELDS}, and {protocol.MAX_HEADER_BYTES // 1024} KiB",
    "path": f"{edge.MAX_PATH_BYTES // 1024} KiB",
    "query": f"{edge.MAX_QUERY_BYTES // 1024} KiB",
    "body": f"{parameters.MAX_BODY_BYTES // 1024} KiB",
}


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub creates for a page's headings."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    named = re.findall(r"(?:^ *|`|= ?|… |\$\()make (?:-s )?([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_the_readme_has_150_lines_at_most() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= 150


@pytest.mark.parametrize(("row", "seconds"), LIMITS.items())
def test_the_table_of_time_limits_is_right(row: str, seconds: int) -> None:
    assert re.search(rf"^\| {re.escape(row)}[^|]* \| {seconds} \|", OPERATORS, re.MULTILINE)


@pytest.mark.parametrize(("row", "size"), SIZES.items())
def test_the_table_of_sizes_is_right(row: str, size: str) -> None:
    assert re.search(rf"^\| {re.escape(row)} \| {re.escape(size)} \|", OPERATORS, re.MULTILINE)
