"""Other programs that read the OpenAPI document: linters, generated clients and the documentation page."""

import json
from pathlib import Path

import httpx
import pytest
from conftest import Api, Person, on_18
from support.node import BUILT, E2E, chromium, for_node, run

__all__ = ["chromium"]

pytestmark = on_18


@pytest.fixture(scope="session")
def document(api: Api) -> Path:
    """The file of the OpenAPI document."""
    BUILT.mkdir(exist_ok=True)
    file = BUILT / "openapi.json"
    file.write_text(httpx.get(f"{api.url}/openapi.json").text)
    return file


def test_redocly_reports_nothing_in_the_openapi_document(document: Path) -> None:
    run("redocly", "lint", f"--config={E2E / 'redocly.yaml'}", document)


def test_spectral_reports_nothing_in_the_openapi_document(document: Path) -> None:
    run("spectral", "lint", "--fail-severity=hint", "--ruleset", E2E / "spectral.yaml", document)


def test_every_check_of_schemathesis_passes_with_the_exceptions_that_its_settings_name(
    api: Api, alice: Person, document: Path, tmp_path: Path
) -> None:
    own = json.loads(document.read_text())
    for operation in (operation for item in own["paths"].values() for operation in item.values()):
        given = operation.get("parameters", [])
        operation["parameters"] = [p for p in given if p["name"] not in {"cursor", "Idempotency-Key"}]
        for parameter in operation["parameters"]:
            if parameter["name"] == "user_id":
                parameter["schema"] = {"enum": [alice.name]}
    (tmp_path / "openapi.json").write_text(json.dumps(own))
    run(
        "schemathesis",
        f"--config-file={E2E / 'schemathesis.toml'}",
        "run",
        "openapi.json",
        f"--url={api.url}",
        f"--header=Authorization: Bearer {alice.token}",
        "--checks=all",
        "--max-examples=5",
        "--generation-deterministic",
        "--continue-on-failure",
        within=tmp_path,
    )


def test_a_typescript_client_generated_from_the_document_works(
    api: Api, alice: Person, document: Path
) -> None:
    run("openapi-typescript", document, "--output", BUILT / "schema.ts")
    run("tsc", "--project", ".")
    run("node", for_node("client.ts"), API=api.url, USER=alice.name, TOKEN=alice.token)


def test_each_adapter_converts_tasks_to_the_form_that_its_page_reads(api: Api, alice: Person) -> None:
    script, where = for_node("adapters.ts"), api.url
    run("node", script, API_URL=where, NEXT_PUBLIC_API_URL=where, USER=alice.name, TOKEN=alice.token)


def test_a_python_client_generated_from_the_document_works(
    api: Api, alice: Person, document: Path, tmp_path: Path
) -> None:
    run(
        "openapi-python-client",
        "generate",
        "--meta=none",
        "--fail-on-warning",
        f"--path={document}",
        f"--output-path={tmp_path / 'tasks_client'}",
    )
    client = E2E / "client.py"
    run("mypy", f"--config-file={E2E / 'mypy.ini'}", client, within=tmp_path, MYPYPATH=str(tmp_path))
    run("python", client, PYTHONPATH=str(tmp_path), API=api.url, USER=alice.name, TOKEN=alice.token)


def test_the_documentation_page_can_send_requests_and_loads_nothing_from_other_hosts(
    api: Api,
    alice: Person,
    chromium: str,
) -> None:
    task = alice.create()
    seen = json.loads(
        run("node", "docs.mjs", API=api.url, TOKEN=alice.token, USER=alice.name, CHROMIUM=chromium)
    )
    assert (seen["led"], seen["operations"]) == ("/docs", 10)
    assert (seen["errors"], seen["complaints"]) == ([], [])
    assert seen["hosts"] == [httpx.URL(api.url).netloc.decode()]
    assert (seen["status"], seen["body"]) == ("200", [task])
