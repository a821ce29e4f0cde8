"""What a deploy decides, from the environment or .env; a wrong value stops the start with one line."""

from typing import Annotated, Literal, TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

HINTS = {
    "DATABASE_URL": "set it to the address of the database as the role tasks_api, "
    "like postgresql://tasks_api:PASSWORD@HOST/DATABASE",
    "MIGRATION_DATABASE_URL": "set it to the direct address of the database as its owner, "
    "like postgresql://OWNER:PASSWORD@HOST/DATABASE",
    "JWT_SECRET": "set it (or BETTER_AUTH_SECRET) to the secret your tokens are signed with, "
    "at least 32 bytes, like the output of: openssl rand -hex 32",
}


def _conninfo(value: SecretStr) -> SecretStr:
    """Refuse what libpq could not read, without repeating it: it may hold a password."""
    try:
        conninfo_to_dict(value.get_secret_value())
    except ProgrammingError:
        raise ValueError("is no PostgreSQL connection string") from None
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    """RFC 7518, section 3.2: a key of the size of the hash output or larger."""
    if len(value.get_secret_value().encode()) < 32:  # noqa: PLR2004 - HS256
        raise ValueError("is shorter than 32 bytes")
    return value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


JwtSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
SECRET = Field(validation_alias=AliasChoices("JWT_SECRET", "BETTER_AUTH_SECRET"))
DatabaseUrl = Annotated[SecretStr, AfterValidator(_conninfo)]
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]
S = TypeVar("S", bound="Base")


class Base(BaseSettings):
    """Where settings come from."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )


class MigrationSettings(Base):
    """What `make migrate` needs."""

    migration_database_url: DatabaseUrl


class TokenSettings(Base):
    """What a token is checked, or made, with."""

    jwt_secret: Annotated[JwtSecret, SECRET]
    jwt_audience: Names = []
    jwt_issuer: Names = []
    jwt_user_claim: Annotated[str, Field(min_length=1)] = "sub"


class DatabaseSettings(Base):
    """Where the database is, for its user tasks_api."""

    database_url: DatabaseUrl


class Settings(DatabaseSettings, TokenSettings):
    """What the API needs. `.env.example` explains each."""

    cors_origins: Names = ["http://localhost:3000"]
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    pool_size: Annotated[int, Field(ge=1)] = 10
    pool_queue: Annotated[int, Field(ge=1)] = 200
    prepared_statements: bool = True
    on_hole: Literal["refuse", "warn"] = "refuse"
    web_concurrency: Annotated[int, Field(ge=1)] = 1
    log_format: Literal["plain", "json"] = "plain"
    log_users: Literal["hash", "id", "none"] = "hash"
    metrics: bool = False


def load(kind: type[S]) -> S:
    """Read the settings, or end the process with one line for each that is missing or wrong."""
    try:
        return kind()
    except ValidationError as error:
        raise SystemExit(
            "\n".join(_explain(str(e["loc"][0]), e["type"], e["msg"]) for e in error.errors())
        ) from None


def _explain(location: str, kind: str, message: str) -> str:
    name = location.upper()
    wrong = "is missing" if kind == "missing" else message.removeprefix("Value error, ")
    return f"{name}: {wrong}; {HINTS.get(name, 'see .env.example')}"
