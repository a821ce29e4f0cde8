"""Settings, read from the environment and the file .env.

If settings are missing or wrong, the process ends and prints one line for each of them. The line names the
setting, what is wrong with it and what to write. The types in setting_types.py check the values.
"""

import codecs
import os
import re
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app import setting_types as types

FILE = Path(".env")
S = TypeVar("S", bound="Base")

# Hints on what to write. A hint is appended to a message that does not say what to write.
HINTS = {
    "DATABASE_URL": "set it to the database URL of the role tasks_api, "
    "like postgresql://tasks_api:PASSWORD@HOST/DATABASE",
    "MIGRATION_DATABASE_URL": "set it to the database URL of the owner, without a pooler, "
    "like postgresql://OWNER:PASSWORD@HOST/DATABASE",
    "JWT_SECRET": "set it (or BETTER_AUTH_SECRET) to the secret your tokens are signed with, "
    "at least 32 bytes, like the output of: openssl rand -hex 32; "
    "or set JWT_JWKS_URL to the URL of their issuer's keys",
    "JWT_SECRET_PREVIOUS": "set it to the previous JWT_SECRET, or leave it empty",
    "JWT_JWKS_URL": "set it to the URL of the issuer's keys, like https://HOST/api/auth/jwks",
}


class Base(BaseSettings):
    """Reads settings from the environment. Those that are not set there are read from .env."""

    model_config = SettingsConfigDict(
        env_file=FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def refuse_stray_characters(cls, value: object, info: ValidationInfo) -> object:
        """Refuse quotes, white space and line ends around any value."""
        return types.check_chars(value, str(info.field_name).upper()) if isinstance(value, str) else value


class MigrationSettings(Base):
    """Settings of `make migrate`."""

    migration_database_url: types.OwnerUrl


class TokenSettings(Base):
    """Settings for the verification of tokens, and for `make token`."""

    jwt_algorithms: types.Algorithms = ["HS256", "EdDSA", "ES256", "RS256", "PS256"]
    jwt_jwks_url: types.KeysUrl = None
    jwt_secret: types.JwtSecret = None  # validated after the fields that it depends on
    jwt_secret_previous: types.PreviousSecret = None
    jwt_audience: types.Names = []
    jwt_issuer: types.Names = []
    jwt_user_claim: str = "sub"
    jwt_leeway: Annotated[int, Field(ge=0, le=300)] = 10  # seconds

    @model_validator(mode="after")
    def verifies_some_token(self) -> Self:
        """Refuse algorithms for which no key is configured: every request would get a 401."""
        with_secret = self.jwt_secret and types.HMAC.intersection(self.jwt_algorithms)
        with_published = self.jwt_jwks_url and not types.HMAC.issuperset(self.jwt_algorithms)
        if not with_secret and not with_published:
            keys = "the keys at JWT_JWKS_URL" if self.jwt_jwks_url else "JWT_SECRET"
            like = "EdDSA, ES256 or RS256" if self.jwt_jwks_url else "HS256"
            raise ValueError(f"JWT_ALGORITHMS: contains no algorithm for {keys}; add one, like {like}")
        return self


class DatabaseSettings(Base):
    """The database URL of the role tasks_api."""

    database_url: types.DatabaseUrl


class Settings(DatabaseSettings, TokenSettings):
    """Settings of the API. `.env.example` explains each."""

    cors_origins: types.Origins = ["http://localhost:3000"]
    host: str = "127.0.0.1"
    port: types.Port = 8000
    keep_alive: Annotated[int, Field(ge=1, le=3600)] = 75  # seconds
    root_path: types.Prefix = ""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    prepared_statements: bool = True
    on_hole: Literal["refuse", "warn"] = "refuse"
    web_concurrency: Annotated[int, Field(ge=1, le=1024)] = 1
    log_format: Literal["plain", "json"] = "plain"
    log_users: Literal["hash", "id", "none"] = "hash"
    metrics: bool = False
    docs: bool = True


def load(kind: type[S]) -> S:
    """Read the settings. If some are missing or wrong, end the process with one line for each of them."""
    _read_file()
    try:
        return kind()
    except ValidationError as error:
        raise SystemExit("\n".join(_explain(kind, details) for details in error.errors())) from None


def _explain(kind: type[Base], error: ErrorDetails) -> str:
    """Return a line that says what is wrong with a setting."""
    if not error["loc"]:  # from a model validator, whose message names the setting
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0]).upper()
    wrong = _problem(kind.model_fields[name.lower()], error)
    if "missing" in wrong and name in (misspelt := misspellings()):
        return f"{name}: is missing; {misspelt[name]} is set, which is not a setting"
    if name == "JWT_SECRET" and name not in (given := _given()) and types.BETTER_AUTH in given:
        wrong = f"{types.BETTER_AUTH} {wrong}"
    return f"{name}: {wrong}" if "; " in wrong else f"{name}: {wrong}; {HINTS.get(name, 'see .env.example')}"


def _problem(field: FieldInfo, error: ErrorDetails) -> str:
    """Return a message for pydantic's error. Pydantic's own messages are written for programmers."""
    limits = {key: getattr(m, key) for m in field.metadata for key in ("ge", "le") if hasattr(m, key)}
    match error["type"]:
        case "missing":
            return "is missing"
        case "literal_error":
            return f"is not {error['ctx']['expected']}; write one of these"
        case "bool_parsing":
            return "is neither true nor false; write one of these"
        case "value_error":
            return str(error["ctx"]["error"])
    if limits:
        return f"is not a whole number from {limits['ge']} to {limits['le']}; write one, like {field.default}"
    return str(error["msg"])


# The file .env, and the names of settings

# An assignment in .env.
ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*(.*)", re.MULTILINE)


def _read_file() -> str:
    """Return the text of .env, or "" if there is no such file. End the process if it cannot be read."""
    try:
        content = FILE.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except IsADirectoryError:
        if (FILE / "pyvenv.cfg").exists():
            return ""  # a virtual environment of that name
        wrong = "is a directory, which Docker creates if a mounted file is missing; replace it with a file"
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}; make it readable for this user, or delete it"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        wrong = "is in UTF-16, as PowerShell writes it" if utf_16 else f"is not UTF-8 in line {line}"
        wrong += "; save it as UTF-8"
    else:
        if "\0" not in text:
            return text
        wrong = "contains NUL characters, like UTF-16; save it as UTF-8"
    raise SystemExit(f"{FILE}: {wrong}")


def find_mistakes() -> list[str]:
    """Return warnings about probable mistakes in values and in names."""
    lines = [(name.upper(), value.strip()) for name, value in ASSIGNMENT.findall(_read_file())]
    times = Counter(name for name, _ in lines)
    twice = [
        f"{FILE}: {name} is set {times[name]} times; the last value is used"
        for name in NAMES
        if times[name] > 1
    ]
    replaced = [
        f"{FILE}: ${{…}} in {name} is expanded; to prevent it, set {name} in the environment"
        for name, value in lines
        if name in NAMES and re.search(r"\$\{[^}]*\}", value)
    ]
    given = {name.upper(): value for name, value in [*lines, *os.environ.items()]}
    quoted = [
        f"{name} ends with a quote but does not begin with one; is the quote part of the value?"
        for name, value in given.items()
        if name in NAMES and value[-1:] in types.QUOTES.values() and types.QUOTES.get(value[0]) != value[-1]
    ]
    misspelt = [f"{wrong} is not a setting; did you mean {name}?" for name, wrong in misspellings().items()]
    return sorted(twice + replaced + quoted + misspelt)


def misspellings() -> dict[str, str]:
    """Map settings that are not set to variables that are probably misspellings of their names."""
    given = _given()
    near = {wrong: get_close_matches(wrong, NAMES - given, 1, 0.88) for wrong in sorted(given - NAMES)}
    return {names[0]: wrong for wrong, names in near.items() if names}


def _given() -> set[str]:
    """Return the names of all variables that the environment or .env gives a value."""
    pairs = [*os.environ.items(), *ASSIGNMENT.findall(_read_file())]
    return {name.upper() for name, value in pairs if value.strip("\"'\r")}


NAMES = {
    name.upper() for name in (*Settings.model_fields, *MigrationSettings.model_fields, types.BETTER_AUTH)
}
