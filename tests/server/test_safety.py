"""The API refuses to start on a database that does not isolate users, and says why."""

import asyncio
import logging
import secrets
from collections.abc import Callable

import pytest
from conftest import Server, serving
from support.starts import refusal, start

from app.postgres import safety
from app.postgres.database import READ_AS, Database
from app.settings import Settings, load

REMEDY = "drop policy if exists everyone on app.tasks"
HOLE = "create policy everyone on app.tasks for select to tasks_api using (true)"
Configure = Callable[..., None]


@pytest.fixture
def settled(server: Server, clone: str, configure: Configure) -> Configure:
    """Configure an API on `clone`; return `configure` for other settings."""
    configure(DATABASE_URL=server.conninfo(clone, "tasks_api"), JWT_SECRET=secrets.token_hex(32))
    return configure


def test_a_hole_ends_the_start_with_finding_and_remedy(server: Server, clone: str) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
    with pytest.raises(AssertionError) as refused, serving(server.conninfo(clone, "tasks_api")):
        pass
    said = str(refused.value)
    assert "The database does not isolate users" in said
    assert "hole: " in said
    assert "app.tasks" in said
    assert REMEDY in said
    assert "Traceback" not in said


def test_on_hole_warn_only_logs_a_hole(
    server: Server, clone: str, settled: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
    settled(ON_HOLE="warn")
    start()
    assert REMEDY in caplog.text


def test_a_session_that_starts_with_a_user_is_refused(server: Server, clone: str, settled: Configure) -> None:
    conninfo = server.conninfo(clone, "tasks_api") + " options='-c app.user_id=alice'"
    settled(DATABASE_URL=conninfo)
    assert "app.user_id is alice, set at the start of the session" in refusal()


@pytest.mark.usefixtures("settled")
def test_a_temporary_table_in_a_pooled_session_is_not_checked_for_row_security() -> None:
    async def check() -> None:
        async with Database(load(Settings)) as database, await database.connect() as connection:
            await connection.execute("create temporary table tasks (title text)")
            ((_, _, _, exposed, *_),) = await database.execute(
                connection, (READ_AS, safety.CHECK), safety.PROBE
            )
            assert exposed is None

    asyncio.run(check())


def test_a_database_that_quotes_all_names_causes_no_warning(
    server: Server, clone: str, settled: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(f"alter database {clone} set quote_all_identifiers = on".encode())
    settled()
    start()
    assert caplog.text == ""


@pytest.mark.usefixtures("settled")
def test_a_migrated_database_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    start()
    assert caplog.text == ""


@pytest.mark.usefixtures("settled")
def test_an_accepted_hole_does_not_prevent_the_start_but_another_does(
    server: Server, clone: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
        superuser.execute(
            "insert into audit.accepted (check_name, object, reason)"
            " values ('policy', 'everyone on app.tasks', 'a drill')"
        )
    with caplog.at_level(logging.INFO):
        start()
    assert "accepted: policy: everyone on app.tasks" in caplog.text
    with server.connect(clone) as superuser:
        superuser.execute("create policy more on app.tasks for select to tasks_api using (true)")
    assert "more on app.tasks" in refusal()
