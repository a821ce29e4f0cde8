"""What a deploy decides, from the environment or .env; a wrong value stops the start with one line."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

HINTS = {
    "DATABASE_URL": "set it to the address of the database as the role tasks_api, "
    "like postgresql://tasks_api:PASSWORD@HOST/DATABASE",
    "MIGRATION_DATABASE_URL": "set it to the direct address of the database as its owner, "
    "like postgresql://OWNER:PASSWORD@HOST/DATABASE",
    "JWT_SECRET": "set it (or BETTER_AUTH_SECRET) to the secret your tokens are signed with, "
    "at least 32 bytes, like the output of: openssl rand -hex 32; "
    "or set JWT_JWKS_URL to where their issuer publishes its keys",
    "JWT_JWKS_URL": "set it to where the issuer publishes its keys, like https://HOST/api/auth/jwks",
}

Hmac = Literal["HS256", "HS384", "HS512"]
Published = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
HMAC = frozenset(get_args(Hmac))


def _conninfo(value: SecretStr) -> SecretStr:
    """Refuse what libpq could not read, without repeating it: it may hold a password."""
    try:
        conninfo_to_dict(value.get_secret_value())
    except ProgrammingError:
        raise ValueError("is no PostgreSQL connection string") from None
    return value


def _long_enough(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """RFC 7518, section 3.2: a key of the size of the hash output or larger."""
    if value is None:
        if info.data.get("jwt_jwks_url", "") is None:
            raise ValueError("is missing")
        return None
    hashes = HMAC.intersection(info.data.get("jwt_algorithms", ()))
    bits = max((int(name[2:]) for name in hashes), default=256)
    if len(value.get_secret_value().encode()) * 8 < bits:
        raise ValueError(f"is shorter than {bits // 8} bytes")
    return value


def _trustworthy(value: str | None) -> str | None:
    """Refuse an address whose answer could be replaced on the way: such keys verify nothing."""
    if value is None:
        return None
    url = urlsplit(value)
    if not (url.scheme == "https" or (url.scheme == "http" and _loopback(url.hostname or ""))):
        raise ValueError("is no https address (http is for localhost only)")
    if not url.hostname or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is no address")
    if "@" in url.netloc or url.fragment or url.port == 0:
        raise ValueError("is not just host, port, path and query")
    return value


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# Segments of pchar (RFC 3986, section 3.3), none of them empty.
PATH = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*")


def _prefix(value: str) -> str:
    """Refuse what cannot stand before the path of a URL."""
    if value and not value.startswith("/"):
        raise ValueError("does not start with a slash; write it like /tasks")
    if value.endswith("/"):
        raise ValueError("ends with a slash; write it without, like /tasks")
    if not PATH.fullmatch(value) or {".", ".."}.intersection(value.split("/")):
        raise ValueError("is not the path of a URL; percent-encode what may not stand in one, like /a%20b")
    return value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


SECRET = Field(validation_alias=AliasChoices("JWT_SECRET", "BETTER_AUTH_SECRET"), validate_default=True)
JwtSecret = Annotated[SecretStr | None, SECRET, AfterValidator(_long_enough)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_conninfo)]
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Algorithms = Annotated[list[Literal[Hmac, Published]], NoDecode, BeforeValidator(_split), Field(min_length=1)]
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

    jwt_algorithms: Algorithms = ["HS256", "EdDSA", "ES256", "RS256", "PS256"]
    jwt_jwks_url: Annotated[str | None, AfterValidator(_trustworthy)] = None
    jwt_secret: JwtSecret = None  # after what it depends on
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
    keep_alive: Annotated[int, Field(ge=1, le=3600)] = 75  # seconds
    root_path: Annotated[str, AfterValidator(_prefix)] = ""
    pool_size: Annotated[int, Field(ge=1)] = 10
    prepared_statements: bool = True
    on_hole: Literal["refuse", "warn"] = "refuse"
    web_concurrency: Annotated[int, Field(ge=1)] = 1
    log_format: Literal["plain", "json"] = "plain"
    log_users: Literal["hash", "id", "none"] = "hash"
    metrics: bool = False
    docs: bool = True


def load(kind: type[S]) -> S:
    """Read the settings, or end the process with one line for each that is missing or wrong."""
    try:
        return kind()
    except ValidationError as error:
        lines = [_explain(str(e["loc"][0]), e["type"], e["msg"]) for e in error.errors()]
        raise SystemExit("\n".join(lines)) from None


def _explain(location: str, kind: str, message: str) -> str:
    name = location.upper()
    wrong = "is missing" if kind == "missing" else message.removeprefix("Value error, ")
    return f"{name}: {wrong}; {HINTS.get(name, 'see .env.example')}"
