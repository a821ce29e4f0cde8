"""The migrations apply anywhere, once, whole, and can be undone."""

from conftest import Server


def test_the_role_is_there(server: Server, database: str) -> None:
    with server.connect(database, "tasks_api") as c:
        assert c.execute("select app.schema_version()").fetchone() == (5,)
