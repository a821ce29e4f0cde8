"""The types of settings: what a value must be, and what to write instead.

A validator raises ValueError with a message of the form "what is wrong; what to write". It never repeats a
secret or a database URL. Errors of libpq are not shown either: if a password is not percent-encoded, libpq
takes a part of it for a host name and prints it.
"""

import os
import re
import ssl
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import Url
from pydantic_settings import NoDecode

BETTER_AUTH = "BETTER_AUTH_SECRET"  # another name of JWT_SECRET

Hmac = Literal["HS256", "HS384", "HS512"]
Published = Literal[
    "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]
HMAC = frozenset(get_args(Hmac))

# Any setting

T = TypeVar("T", str, SecretStr)


def refusing(rules: dict[str, str]) -> AfterValidator:
    """Return a validator that raises ValueError with the message of the first pattern that matches."""

    def check(value: T) -> T:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        _refuse(rules, text)
        return value

    return AfterValidator(check)


def _refuse(rules: dict[str, str], text: str) -> None:
    for pattern, message in rules.items():
        if re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError(message)


# Opening and closing quotes that shells, word processors and env files leave around values.
QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
STRAY_CHARACTERS = {
    "|".join(f"{a}.*{b}" for a, b in QUOTES.items()): "is in quotes, which docker --env-file and Kubernetes "
    "do not remove; remove them",
    r".*\r": "ends with a carriage return, as in files with Windows line endings; remove it",
    r".*\n": "ends with a line break, which echo and editors add; remove it, or use printf",
    r".*[\ud800-\udfff].*": "is not UTF-8; write it in UTF-8",  # how os.environ represents invalid bytes
}
SECRET_SETTINGS = {"DATABASE_URL", "MIGRATION_DATABASE_URL", "JWT_SECRET", "JWT_SECRET_PREVIOUS"}


def check_chars(value: str, name: str) -> str:
    """Raise ValueError if a value is in quotes, begins or ends with white space, or starts with `NAME=`.

    Shells, editors and env files cause these mistakes. The characters would become a part of the secret, host
    or origin, which would then match nothing.
    """
    if value.upper().startswith(f"{name}="):
        raise ValueError("repeats its own name; write only what follows the =")
    _refuse(STRAY_CHARACTERS, value)
    if any(c.isspace() or not c.isprintable() for c in value[:1] + value[-1:]):
        raise ValueError("begins or ends with white space or an invisible character; remove it")
    if name not in SECRET_SETTINGS and not value.isprintable():
        raise ValueError("contains a line break or an invisible character; remove it")
    return value


def _split(value: object, info: ValidationInfo) -> object:
    """Split a comma-separated list. Raise ValueError if it has no members or is written as JSON."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        raise ValueError("is a JSON list; write comma-separated members, without brackets and quotes")
    members = [part.strip() for part in value.split(",") if part.strip()]
    if not members:
        raise ValueError("is a list without members; write one or more, or leave it empty")
    for member in members:
        check_chars(member, str(info.field_name).upper())
    return members


# The database

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
HOST_NAMES = re.compile(r"@?[A-Za-z0-9._:%,-]*|/.*")  # or an abstract socket, or the directory of a socket
MAX_PORT = 65535
ESCAPE = (
    "contains a character that must be percent-encoded in the user name or the password; "
    "write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25 and a space as %20"
)
URL_RULES = refusing({
    r"psql .*": "is a psql command; write only the URL in it",
    r"(?i:jdbc:).*": "is a JDBC URL; write postgresql://USER:PASSWORD@HOST/DATABASE",
    r"(?i:postgres(ql)?\+).*": "contains an SQLAlchemy driver; write postgresql:// without the + and the "
    "name of the driver",
    r"(?!postgres(ql)?:)(?i:postgres(ql)?://).*": "has a scheme in capitals; write postgresql://",
    rf"(?!postgres(ql)?://){SCHEME.pattern}.*": "is not a PostgreSQL URL; "
    "write postgresql://USER:PASSWORD@HOST/DATABASE",
})  # fmt: skip
# What to do instead of the connection parameters of Prisma, SQLAlchemy, asyncpg, JDBC and node-postgres that
# libpq does not know.
FOREIGN_PARAMETERS = {
    "behind PgBouncer before 1.22 set PREPARED_STATEMENTS=false": (
        *("pgbouncer", "prepareThreshold", "statement_cache_size", "prepared_statement_cache_size"),
    ),
    "the tables are in the schema app": ("schema", "currentSchema", "search_path"),
    "set POOL_SIZE": ("connection_limit", "pool_size", "max"),
    "write sslmode=require, or sslmode=verify-full for sslaccept=strict": ("ssl", "sslaccept"),
}


def _conninfo(value: SecretStr) -> SecretStr:
    """Raise ValueError if libpq cannot parse the connection string, or misreads its password."""
    text = value.get_secret_value()
    try:
        given = conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError(_unreadable(text)) from None
    host, ports = str(given.get("host", "")), str(given.get("port", "")).split(",")
    numbers = all(port.isdecimal() for port in ports if port)
    if SCHEME.match(text) and (
        "@@" in text or "@" in str(given.get("dbname")) or not HOST_NAMES.fullmatch(host) or not numbers
    ):
        raise ValueError(ESCAPE)
    if not numbers or any(int(port) not in range(1, MAX_PORT + 1) for port in ports if port):
        raise ValueError(f"has a port that is not a number between 1 and {MAX_PORT}")
    if not find_roots() and given.get("sslrootcert", os.environ.get("PGSSLROOTCERT")) == "system":
        raise ValueError(
            "has sslrootcert=system, and this system has no CA certificates; "
            "install the package ca-certificates, or set SSL_CERT_FILE to a file of CA certificates"
        )
    return value


def _unreadable(text: str) -> str:
    """Return why libpq cannot parse a connection string; name no parameter that may be part of a password."""
    address, _, query = text.partition("?")
    if SCHEME.match(text):
        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        names = [part.partition("=")[0] for part in query.split("&")]
        unknown = next((name for name in names if name and name not in known), None)
        if "@" in query or address.count("@") > 1 or BROKEN_ESCAPE.search(address) or " " in address:
            return ESCAPE
        remedy = next((do for do, foreign in FOREIGN_PARAMETERS.items() if unknown in foreign), None)
        if remedy or (unknown and "@" in address and unknown.isprintable()):
            instead = f"; {remedy}" if remedy else ""
            return f"has the parameter {unknown}, which PostgreSQL's libpq does not know; remove it{instead}"
    return "is not a PostgreSQL connection string"


def _of_owner(value: SecretStr) -> SecretStr:
    """Raise ValueError for the role tasks_api: it owns no table, so it cannot migrate."""
    if conninfo_to_dict(value.get_secret_value()).get("user") == "tasks_api":
        raise ValueError("has the user tasks_api, which cannot migrate")
    return value


# CA certificates of Debian, of Fedora, of SUSE, and of Alpine and the BSDs.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def find_roots() -> bool:
    """Set SSL_CERT_FILE or SSL_CERT_DIR for sslrootcert=system. Return False if no CA file is found.

    The OpenSSL inside the psycopg-binary wheel looks for them in a directory of the machine that built the
    wheel, unless one of the two variables is set.
    """
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    paths = ssl.get_default_verify_paths()
    if file := next((file for file in (paths.cafile, *BUNDLES) if file and Path(file).is_file()), None):
        os.environ["SSL_CERT_FILE"] = file
    elif paths.capath and any(Path(paths.capath).glob("*.0")):
        os.environ["SSL_CERT_DIR"] = paths.capath
    else:
        return False
    return True


# Keys and tokens


def _strong(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Raise ValueError for a public key, and for a secret shorter than the hash (RFC 7518, section 3.2)."""
    if value is None:
        return None
    secret = value.get_secret_value()
    if secret.startswith(("-----BEGIN ", "{", "ssh-")):
        raise ValueError("is a key in PEM, JWK or SSH form, not a shared secret")
    hashes = HMAC.intersection(info.data.get("jwt_algorithms", ()))
    bits = max((int(name[2:]) for name in hashes), default=256)
    if len(secret.encode()) * 8 < bits:
        raise ValueError(f"is shorter than {bits // 8} bytes")
    return value


def _needed(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Raise ValueError if neither JWT_SECRET nor JWT_JWKS_URL is set."""
    if value is None and info.data.get("jwt_jwks_url", "") is None:
        raise ValueError("is missing")
    return value


def _trustworthy(value: str | None) -> str | None:
    """Raise ValueError for a URL without TLS: an attacker on the network could replace the keys."""
    if value is None:
        return None
    try:
        url = urlsplit(value)
        usable = url.hostname and url.port != 0 and "@" not in url.netloc
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", value) or "#" in value:
        raise ValueError("is not a valid URL, or contains a user name or a fragment")
    if url.scheme != "https" and not (url.scheme == "http" and _loopback(url.hostname or "")):
        raise ValueError("is not an https URL (http is for localhost only)")
    return value


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# Browsers

DEFAULT_PORTS = {"http": 80, "https": 443}
LABEL = re.compile(r"[a-z0-9_*-]{1,63}")
MAX_HOST_NAME = 253
# Second-level labels of country domains below which anyone can register a name, as in co.uk.
REGISTRIES = {
    *("ac", "co", "com", "edu", "go", "gob", "gov", "ltd"),
    *("mil", "ne", "net", "nom", "or", "org", "plc", "sch"),
}
LIKE = "write it like https://app.example.com, https://*.example.com or https://app-*.example.com"
# These messages do not repeat the value, which may contain a password.
ORIGIN_RULES = refusing({
    r"\*": "has *, which would allow every website; list the origins instead",
    r"null": "has null, which any page can send; write the origin of your front end",
    r".*@.*": "has an origin with a user name, which no browser sends; write https://HOST",
    r".*[\s;].*": "has origins without a comma between them; separate them with commas",
    r"(?!.*://).*": "has an origin without a scheme; write https:// or http:// before it",
    r"(?i:about|blob|data|file|ftp|javascript|mailto|wss?):.*": "has a scheme that web pages do not have; "
    "write https or http",
})  # fmt: skip


def _origin(value: str) -> str:
    """Raise ValueError for an origin that no browser sends, since origins are compared byte by byte.

    Url parses it as browsers do (URL standard). A valid origin is equal to the result of parsing it.
    """
    scheme = value.partition("://")[0].lower()
    if scheme not in DEFAULT_PORTS and (near := get_close_matches(scheme, DEFAULT_PORTS, 1, 0.7)):
        raise ValueError(f"has the scheme {scheme}; write {near[0]}")
    try:
        url = Url(value)
    except ValidationError as error:
        reason = error.errors()[0]["ctx"]["error"]
        raise ValueError(f"has {value}, which is not an origin: {reason}; {LIKE}") from None
    host = (url.host or "").lower()
    port = "" if url.port in (None, DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
    sent = f"{url.scheme}://{host}{port}"
    if sent != value:
        raise ValueError(f"has {value}, which browsers send as {sent}; write that")
    if url.port == 0:
        raise ValueError(f"has {value}, whose port is 0; write another port, or none")
    if not host.startswith("["):
        _check_host(host, url.scheme)
    return value


def _check_host(host: str, scheme: str) -> None:
    """Raise ValueError for an invalid host name, or a * that also matches hosts of other owners."""
    labels = host.removesuffix(".").split(".")
    if len(host) > MAX_HOST_NAME or not all(map(LABEL.fullmatch, labels)):
        raise ValueError(f"has the host {host}, which is not a valid host name; correct it")
    if "*" not in host:
        return
    match host.rpartition("*")[2].removesuffix(".").split(".")[1:]:
        case [name]:
            owned = name == "localhost"
        case [second, country] if len(country) == len("uk"):
            owned = second not in REGISTRIES
        case behind:
            owned = bool(behind) and not behind[-1].isdecimal()
    if not owned or host.count("*") > 1 or scheme not in DEFAULT_PORTS:
        raise ValueError(
            f"has the host {host}; a host may have one *, and only in front of a domain of your own; {LIKE}"
        )


# The path of a URL: segments of pchar (RFC 3986, section 3.3), none of them empty or dots.
PATH = r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*"
PREFIX_RULES = refusing({
    r"[^/].*": "does not start with a slash; write it like /tasks",
    r".*/": "ends with a slash; write it without that slash, like /tasks",
    rf"(?!{PATH}$).*": "is not a valid URL path; percent-encode the invalid characters, like /a%20b",
})  # fmt: skip

SECRET = Field(validation_alias=AliasChoices("JWT_SECRET", BETTER_AUTH), validate_default=True)
PreviousSecret = Annotated[SecretStr | None, AfterValidator(_strong)]
JwtSecret = Annotated[SecretStr | None, SECRET, AfterValidator(_needed), AfterValidator(_strong)]
KeysUrl = Annotated[str | None, AfterValidator(_trustworthy)]
DatabaseUrl = Annotated[SecretStr, URL_RULES, AfterValidator(_conninfo)]
OwnerUrl = Annotated[DatabaseUrl, AfterValidator(_of_owner)]
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Algorithms = Annotated[list[Literal[Hmac, Published]], NoDecode, BeforeValidator(_split)]
Origin = Annotated[str, ORIGIN_RULES, AfterValidator(_origin)]
Origins = Annotated[list[Origin], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
Prefix = Annotated[str, PREFIX_RULES]
