"""The OpenAPI document is complete and correct."""

import re
from typing import Any

import jsonschema_rs
import pytest
from conftest import Api, Person, Server
from support.contract import ask, tasks_of

from app.api.schemas import trimmed

TASKS, TASK = "/api/{user_id}/tasks", "/api/{user_id}/tasks/{task_id}"
OPERATIONS = {
    ("get", TASKS): "list_tasks",
    ("post", TASKS): "create_task",
    ("get", TASK): "get_task",
    ("put", TASK): "put_task",
    ("patch", TASK): "update_task",
    ("patch", f"{TASK}/complete"): "complete_task",
    ("delete", TASK): "delete_task",
    ("get", "/api/{user_id}/stats"): "get_stats",
    ("get", "/health"): "get_health",
    ("get", "/ready"): "get_ready",
}


@pytest.fixture(scope="module")
def document(api: Api) -> Any:
    """The document that the API serves."""
    answer = ask(api, "GET", "/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_endpoint_is_documented_with_a_unique_operation_id(document: Any) -> None:
    named = {place: operation["operationId"] for place, operation in operations(document).items()}
    assert named == OPERATIONS
    assert len(set(named.values())) == len(named)


def test_every_response_of_the_contract_is_documented(document: Any) -> None:
    everywhere = {"401", "403", "422", "503"}
    one, change = everywhere | {"404"}, {"404", "412", "413", "415", "400"}
    expected = {
        "list_tasks": everywhere | {"200", "414"},
        "create_task": everywhere | {"201", "400", "413", "415"},
        "get_task": one | {"200", "304"},
        "put_task": everywhere | change | {"200"},
        "update_task": everywhere | change | {"200"},
        "complete_task": everywhere | change | {"200"},
        "delete_task": one | {"204", "412"},
        "get_stats": everywhere | {"200"},
        "get_health": {"200"},
        "get_ready": {"200", "503"},
    }
    for operation in operations(document).values():
        assert set(operation["responses"]) == expected[operation["operationId"]], operation["operationId"]


def test_every_error_is_documented_as_problem_json(document: Any) -> None:
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            if status >= "400":
                schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert response["content"] == {"application/problem+json": schema}


def test_only_the_task_endpoints_require_a_token(document: Any) -> None:
    ((name, scheme),) = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for (_, path), operation in operations(document).items():
        assert operation["security"] == ([{name: []}] if path.startswith("/api/") else [])


def test_every_parameter_is_documented(document: Any) -> None:
    names = {
        operation["operationId"]: {p["name"] for p in operation.get("parameters", []) if p["in"] != "path"}
        for operation in operations(document).values()
    }
    assert names == {
        "list_tasks": {
            *("status", "priority", "category", "tags", "due_before", "due_after", "search"),
            *("sort", "order", "limit", "count", "cursor"),
        },
        "create_task": {"Idempotency-Key"},
        "get_task": {"If-None-Match"},
        "put_task": {"If-Match"},
        "update_task": {"If-Match"},
        "complete_task": {"If-Match"},
        "delete_task": {"If-Match"},
        "get_stats": set(),
        "get_health": set(),
        "get_ready": set(),
    }
    for (_, path), operation in operations(document).items():
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))


def validator(document: Any, name: str) -> Any:
    return jsonschema_rs.validator_for(
        document | {"$ref": f"#/components/schemas/{name}"}, validate_formats=True
    )


def test_the_task_schema_matches_the_responses(document: Any, alice: Person) -> None:
    schema = document["components"]["schemas"]["Task"]
    made = alice.client.post("/tasks", json={"title": "x" * 200, "description": "y" * 1000})
    assert list(schema["properties"]) == list(made.json())
    assert set(schema["required"]) == set(made.json())
    task = validator(document, "Task")
    task.validate(made.json())
    changed = alice.client.put(
        "/tasks/1", json={"description": None, "completed": True, "due_date": "2026-12-24"}
    )
    task.validate(changed.json())
    for listed in alice.client.get("/tasks").json():
        task.validate(listed)
    for name in made.json():
        assert not task.is_valid(made.json() | {name: {}})
        assert not task.is_valid({other: value for other, value in made.json().items() if other != name})


def test_the_problem_schema_matches_the_responses(document: Any, api: Api, alice: Person) -> None:
    problem = validator(document, "Problem")
    client = alice.client
    for answer in (
        client.post("/tasks", content=b"{"),
        ask(api, "GET", tasks_of(alice.name)),
        ask(api, "GET", tasks_of("bob"), token=alice.token),
        client.get("/tasks/1"),
        client.put("/health"),
        client.post("/tasks", content=b" " * 70_000),
        client.post("/tasks", json={}),
    ):
        assert answer.is_client_error
        problem.validate(answer.json())
    assert not problem.is_valid({"detail": "x"})


def checks(server: Server, database: str, table: str) -> str:
    with server.connect(database) as connection:
        rows = connection.execute(
            "select string_agg(pg_get_constraintdef(oid), ' ') from pg_constraint"
            " where conrelid = %s::regclass",
            (table,),
        )
        ((text,),) = rows.fetchall()
        return str(text)


def test_the_limits_are_those_of_the_database(document: Any, server: Server, database: str) -> None:
    task = document["components"]["schemas"]["Task"]["properties"]
    title, user = task["title"], task["user_id"]
    tasks, users = checks(server, database, "app.tasks"), checks(server, database, "app.users")
    keys = checks(server, database, "app.idempotency_keys")
    limits = [int(n) for n in re.findall(r"char_length\(title\) [<>]= (\d+)", tasks)]
    assert limits == [title["minLength"], title["maxLength"]]
    limits = [int(n) for n in re.findall(r"char_length\(id\) [<>]= (\d+)", users)]
    assert limits == [user["minLength"], user["maxLength"]]
    for name in ("TaskCreate", "TaskChanges"):
        description = document["components"]["schemas"][name]["properties"]["description"]
        (text,) = (option for option in description["anyOf"] if option["type"] == "string")
        asked = document["components"]["schemas"][name]["properties"]["title"]
        assert (asked["minLength"], asked["pattern"]) == (title["minLength"], trimmed(title["maxLength"]))
        assert "maxLength" not in asked  # since maxLength would include white space at either end
        assert f"char_length(description) <= {text['maxLength']})" in tasks
        members = document["components"]["schemas"][name]["properties"]
        assert all(f"'{word}'::text" in tasks for word in members["priority"]["enum"])
        assert tasks.count("'::text, '") == len(members["priority"]["enum"]) - 1
        (text,) = (option for option in members["category"]["anyOf"] if option["type"] == "string")
        assert text["pattern"].startswith(trimmed(50))
        assert "char_length(category) <= 50)" in tasks
        (tags,) = (option for option in members["tags"]["anyOf"] if option["type"] == "array")
        assert f"cardinality(tags) <= {tags['maxItems']})" in tasks
    operation = document["paths"][TASKS]["post"]
    (key,) = (parameter for parameter in operation["parameters"] if parameter["name"] == "Idempotency-Key")
    assert "{1,255}$" in keys
    assert (key["schema"]["minLength"], key["schema"]["maxLength"]) == (1, 255)


def test_the_limits_of_a_query_are_those_of_the_contract(document: Any) -> None:
    query = {p["name"]: p["schema"] for p in document["paths"][TASKS]["get"]["parameters"]}
    assert (query["limit"]["minimum"], query["limit"]["maximum"], query["limit"]["default"]) == (
        1,
        1000,
        1000,
    )
    assert query["status"]["enum"] == ["all", "pending", "completed"]
    assert query["sort"]["enum"] == ["created", "updated", "title", "priority", "due_date", "status"]
    assert query["priority"]["enum"] == ["none", "low", "medium", "high", "urgent", "all", ""]
    assert query["order"]["enum"] == ["asc", "desc"]
    assert query["search"]["maxLength"] == 100
    assert query["count"]["type"] == "boolean"
    assert "null" not in str(query)


def test_the_schema_of_a_title_matches_what_is_accepted(document: Any, alice: Person) -> None:
    from support import at_random  # noqa: PLC0415 - which says why

    create = validator(document, "TaskCreate")

    def agree(title: str) -> None:
        answer = alice.client.post("/tasks", json={"title": title})
        assert answer.status_code in (201, 422)
        assert create.is_valid({"title": title}) is (answer.status_code == 201), repr(title)

    at_random.for_titles(agree)


MODES = [(name, "positive") for name in OPERATIONS.values()]
MODES += [  # requests without parameters cannot be invalid
    (name, "negative") for (_, path), name in OPERATIONS.items() if path.startswith("/api/")
]


@pytest.mark.parametrize(("operation_id", "mode"), MODES)
def test_random_requests_get_documented_responses(
    api: Api, document: Any, alice: Person, operation_id: str, mode: str
) -> None:
    """Valid data is accepted, invalid data is refused, and every response is documented."""
    from support import at_random  # noqa: PLC0415 - which says why

    alice.create()
    at_random.conforms(api, document, alice, operation_id, mode)
