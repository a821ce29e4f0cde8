"""Error responses: each is application/problem+json (RFC 9457)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

T = TypeVar("T")

PROBLEM_JSON = "application/problem+json"
# The titles of three statuses differ before Python 3.13.
TITLES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    422: "Unprocessable Content",
}


# Messages by the type of Pydantic's error. Pydantic's own messages are written for programmers.
MESSAGES = {
    "missing": "is missing",
    "dict_type": "must be a JSON object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "too_long": "must have at most {max_length} characters",
    "bool_type": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}


class Problem(Exception):
    """An error response. Endpoints, and the code that reads their parameters, raise it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}
        self.errors: Sequence[Mapping[str, str]] = ()

    def response(self) -> Response:
        """Return the response."""
        body: dict[str, Any] = {"type": "about:blank", "title": TITLES.get(self.status, "Error")}
        body |= {"status": self.status, "detail": self.detail}
        if self.errors:
            body["errors"] = self.errors
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(json.dumps(body), self.status, headers, PROBLEM_JSON)


class Invalid(Problem):
    """A 422 for well-formed input with invalid values. The arguments are pairs of a field and a message."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        super().__init__(422, "; ".join(f"{field}: {message}" for field, message in fields))
        self.errors = [{"field": field, "message": message} for field, message in fields]


def validate(adapter: TypeAdapter[T], value: object, name: str) -> T:
    """Return the value, validated and converted.

    Raise Invalid, which names the invalid members, or `name` if the value as a whole is invalid.
    """
    try:
        valid: T = adapter.validator.validate_python(value)  # half the cost of adapter.validate_python
    except ValidationError as error:
        raise from_pydantic(error.errors(), name) from None
    return valid


def from_pydantic(errors: Iterable[Any], name: str) -> Invalid:
    """Return Pydantic's errors as Invalid: one message for each field.

    An error whose location contains no field name is reported as an error of `name`.
    """
    fields: dict[str, str] = {}
    for error in errors:
        field = next((part for part in reversed(error["loc"]) if isinstance(part, str)), name)
        message = MESSAGES.get(error["type"], "is not valid").format(**error.get("ctx", {}))
        fields.setdefault(field, message)
    return Invalid(*fields.items())
