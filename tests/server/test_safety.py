"""The API refuses to start on a database that does not keep users apart, and says why."""

import pytest
from conftest import Server, on_18, serving

REMEDY = "drop policy if exists everyone on app.tasks"
HOLE = "create policy everyone on app.tasks for select to tasks_api using (true)"


def refusal(server: Server, database: str, **settings: str) -> str:
    with (
        pytest.raises(AssertionError) as refused,
        serving(server.conninfo(database, "tasks_api"), **settings),
    ):
        pass
    return str(refused.value)


def test_a_hole_ends_the_start_with_finding_and_remedy(server: Server, clone: str) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
    said = refusal(server, clone)
    assert "The database does not keep users apart" in said
    assert "hole: " in said
    assert "app.tasks" in said
    assert REMEDY in said
    assert "Traceback" not in said


def test_a_dba_may_have_it_warn_instead(server: Server, clone: str) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
    with serving(server.conninfo(clone, "tasks_api"), ON_HOLE="warn") as api:
        assert REMEDY in api.log.read_text()


def test_a_session_that_starts_with_an_identity_is_refused(server: Server, clone: str) -> None:
    conninfo = server.conninfo(clone, "tasks_api") + " options='-c app.user_id=alice'"
    with pytest.raises(AssertionError, match="names a user in every new session"), serving(conninfo):
        pass


def test_the_database_of_the_migrations_needs_no_warning(server: Server, clone: str) -> None:
    with serving(server.conninfo(clone, "tasks_api")) as api:
        assert "WARNING" not in api.log.read_text()


@on_18
def test_an_accepted_hole_does_not_end_the_start_and_another_does(server: Server, clone: str) -> None:
    with server.connect(clone) as superuser:
        superuser.execute(HOLE)
        superuser.execute(
            "insert into audit.accepted (check_name, object, reason)"
            " values ('policy', 'everyone on app.tasks', 'a drill')"
        )
    with serving(server.conninfo(clone, "tasks_api")) as api:
        assert "accepted: policy: everyone on app.tasks" in api.log.read_text()
    with server.connect(clone) as superuser:
        superuser.execute("create policy more on app.tasks for select to tasks_api using (true)")
    assert "more on app.tasks" in refusal(server, clone)
