"""Random requests from an OpenAPI document, valid and invalid. The import of schemathesis is slow."""

import copy
from collections.abc import Callable
from typing import Any

import schemathesis
from conftest import Api, Person
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema

AT_RANDOM = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHARACTERS = st.sampled_from(["x", " ", "\n", "\u2003", "\u200b", "ü", "😀", "\x85", "\0", "\x1c"])


def for_titles(agree: Callable[[str], None]) -> None:
    """Call `agree` with titles of white space, of invalid characters, and of lengths around the limit."""
    titles = st.one_of(st.text(CHARACTERS, max_size=6), st.integers(197, 203).map(lambda n: f" {'x' * n} "))
    AT_RANDOM(given(titles)(agree))()


def conforms(api: Api, document: Any, person: Person, operation_id: str, mode: str) -> None:
    """Send valid or invalid requests (`mode`) to an operation; validate the responses by the document."""
    operation = schema_for(api, document, person).find_operation_by_id(operation_id)

    def conform(case: Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {person.token}"})

    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    settings(AT_RANDOM, max_examples=5)(given(case=cases)(conform))()  # each takes a tenth of a second


def schema_for(api: Api, document: Any, person: Person) -> OpenApiSchema:
    """Return the schema for one person, without parameters whose values cannot be generated."""
    own = copy.deepcopy(document)
    for operation in (operation for item in own["paths"].values() for operation in item.values()):
        operation.pop("security", None)  # the token is always sent
        given = [p for p in operation.get("parameters", []) if p["name"] not in ("cursor", "Idempotency-Key")]
        operation["parameters"] = given
        for parameter in given:
            if parameter["name"] == "user_id":
                parameter["schema"] = {"enum": [person.name]}
    schema = schemathesis.openapi.from_dict(own)
    schema.config.update(base_url=api.url)
    return schema
