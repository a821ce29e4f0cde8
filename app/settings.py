"""Settings, read from the environment and the file .env.

If a setting is missing or wrong, the process ends with one line for each. The line names the setting, what is
wrong with it and what to write. It never repeats a secret or a database URL. Errors of libpq are not shown
either: if a password is not percent-encoded, libpq takes a part of it for a host name and prints it.
"""

import codecs
import os
import re
import ssl
from collections import Counter
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

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
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

FILE = Path(".env")
BETTER_AUTH = "BETTER_AUTH_SECRET"  # another name of JWT_SECRET

# What to write. This is appended to messages that do not say it.
HINTS = {
    "DATABASE_URL": "set it to the address of the database as the role tasks_api, "
    "like postgresql://tasks_api:PASSWORD@HOST/DATABASE",
    "MIGRATION_DATABASE_URL": "set it to the direct address of the database as its owner, "
    "like postgresql://OWNER:PASSWORD@HOST/DATABASE",
    "JWT_SECRET": "set it (or BETTER_AUTH_SECRET) to the secret your tokens are signed with, "
    "at least 32 bytes, like the output of: openssl rand -hex 32; "
    "or set JWT_JWKS_URL to where their issuer publishes its keys",
    "JWT_SECRET_PREVIOUS": "set it to what JWT_SECRET was before, or to nothing",
    "JWT_JWKS_URL": "set it to where the issuer publishes its keys, like https://HOST/api/auth/jwks",
}

Hmac = Literal["HS256", "HS384", "HS512"]
Published = Literal[
    "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]
HMAC = frozenset(get_args(Hmac))


# Any setting

# Opening and closing quotes that shells, word processors and env files leave around values.
QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
SECRET_SETTINGS = {"DATABASE_URL", "MIGRATION_DATABASE_URL", "JWT_SECRET", "JWT_SECRET_PREVIOUS"}


def _check_edges(value: str, name: str) -> str:
    """Raise ValueError if a value is in quotes, begins or ends with white space, or starts with `NAME=`.

    Shells, editors and env files cause these mistakes. The characters would become a part of the secret, host
    or origin, which would then match nothing.
    """
    if not value:
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8; write it in UTF-8") from None
    if value.upper().startswith(f"{name}="):
        raise ValueError("repeats its own name; write only what follows the =")
    if len(value) > 1 and value[-1] == QUOTES.get(value[0]):
        raise ValueError("is in quotes, which docker --env-file and Kubernetes keep; write it without them")
    if value.endswith("\r"):
        raise ValueError("ends with a carriage return, as in a file with Windows line ends; write it without")
    if value.endswith("\n"):
        raise ValueError(
            "ends with a line break, as echo and editors add one; write it without, as printf does"
        )
    if any(c.isspace() or not c.isprintable() for c in (value[0], value[-1])):
        raise ValueError("begins or ends with white space or an invisible character; write it without")
    if name not in SECRET_SETTINGS and not value.isprintable():
        raise ValueError("holds a line break or an invisible character; write it without")
    return value


def _split(value: object, info: ValidationInfo) -> object:
    """Split a comma-separated list. Raise ValueError if it has no members or is written as JSON."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        raise ValueError(
            "is a JSON list; write its members with commas between them, without brackets and quotes"
        )
    members = [part.strip() for part in value.split(",") if part.strip()]
    if not members:
        raise ValueError("is a list without members; write one or more, or leave it empty")
    for member in members:
        _check_edges(member, str(info.field_name).upper())
    return members


# The database

DRIVER = re.compile(r"postgres(ql)?\+", re.IGNORECASE)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
HOST_NAMES = re.compile(r"[A-Za-z0-9._:%,-]*|/.*")  # or the directory of a Unix socket
PORTS = re.compile(r"(\d{0,5},)*\d{0,5}")
MAX_PORT = 65535
ESCAPE = (
    "holds a character that must be percent-encoded in the user name or the password; "
    "write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25 and a blank as %20"
)
# Connection parameters of Prisma, SQLAlchemy, asyncpg, JDBC and node-postgres that libpq does not know, each
# with what to write instead.
FOREIGN_PARAMETERS = {
    "pgbouncer": "take it out; behind PgBouncer before 1.22 set PREPARED_STATEMENTS=false",
    "prepareThreshold": "take it out; set PREPARED_STATEMENTS=false",
    "statement_cache_size": "take it out; set PREPARED_STATEMENTS=false",
    "prepared_statement_cache_size": "take it out; set PREPARED_STATEMENTS=false",
    "schema": "take it out; the tables are in the schema app",
    "currentSchema": "take it out; the tables are in the schema app",
    "search_path": "take it out; the tables are in the schema app",
    "connection_limit": "take it out; set POOL_SIZE",
    "pool_size": "take it out; set POOL_SIZE",
    "max": "take it out; set POOL_SIZE",
    "ssl": "write sslmode=require, or sslmode=verify-full",
    "sslaccept": "write sslmode=require, or sslmode=verify-full for sslaccept=strict",
}


def _conninfo(value: SecretStr) -> SecretStr:
    """Raise ValueError if libpq cannot parse the connection string, or would misread it."""
    text = value.get_secret_value()
    _postgresql(text)
    try:
        given = conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError(_unreadable(text)) from None
    host, port = str(given.get("host", "")), str(given.get("port", ""))
    if SCHEME.match(text) and ("@" in str(given.get("dbname")) or not HOST_NAMES.fullmatch(host)):
        raise ValueError(ESCAPE)
    if not PORTS.fullmatch(port):
        raise ValueError(ESCAPE if SCHEME.match(text) else "has a port that is not a number")
    if any(int(each or 1) not in range(1, MAX_PORT + 1) for each in port.split(",")):
        raise ValueError(f"has a port that is not between 1 and {MAX_PORT}")
    if given.get("sslrootcert", os.environ.get("PGSSLROOTCERT")) == "system":
        find_roots()
    return value


def _postgresql(text: str) -> None:
    """Raise ValueError for URLs of other database systems, and for URLs in the form of JDBC or SQLAlchemy."""
    scheme = (SCHEME.match(text) or [""])[0].lower()
    if text.startswith("psql "):
        raise ValueError("is a command; write only the address in it")
    if scheme.startswith("jdbc:"):
        raise ValueError("is an address for JDBC; write postgresql://USER:PASSWORD@HOST/DATABASE")
    if DRIVER.match(scheme):
        raise ValueError(
            "names a driver of SQLAlchemy; write postgresql:// without the + and what follows it"
        )
    if scheme in {"postgresql://", "postgres://"} and not text.startswith(scheme):
        raise ValueError(f"has a scheme in capitals; write {scheme}")
    if scheme not in {"", "postgresql://", "postgres://"}:
        raise ValueError("is not an address of PostgreSQL; write postgresql://USER:PASSWORD@HOST/DATABASE")


def _unreadable(text: str) -> str:
    """Return why libpq cannot parse a connection string; name no parameter that may be part of a password."""
    address, _, query = text.partition("?")
    if SCHEME.match(text):
        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        names = [part.partition("=")[0] for part in query.split("&")]
        unknown = next((name for name in names if name and name not in known), None)
        if "@" in query or address.count("@") > 1 or BROKEN_ESCAPE.search(address) or " " in address:
            return ESCAPE
        if unknown in FOREIGN_PARAMETERS or (unknown and "@" in address and unknown.isprintable()):
            remedy = FOREIGN_PARAMETERS.get(unknown, "take it out")
            return f"has the parameter {unknown}, which PostgreSQL's libpq does not know; {remedy}"
    return "is not a PostgreSQL connection string"


def _of_owner(value: SecretStr) -> SecretStr:
    """Raise ValueError for the role tasks_api: it owns no table, so it cannot migrate."""
    if conninfo_to_dict(value.get_secret_value()).get("user") == "tasks_api":
        raise ValueError("names the role tasks_api, which cannot migrate")
    return value


# CA certificates of Debian, of Fedora, of SUSE, and of Alpine and the BSDs.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def find_roots() -> None:
    """Set SSL_CERT_FILE or SSL_CERT_DIR for sslrootcert=system. Raise ValueError without CA certificates.

    The OpenSSL inside the psycopg-binary wheel looks for them in a directory of the machine that built the
    wheel, unless one of the two variables is set.
    """
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return
    paths = ssl.get_default_verify_paths()
    for file in (paths.cafile, *BUNDLES):
        if file and Path(file).is_file():
            os.environ["SSL_CERT_FILE"] = file
            return
    if paths.capath and any(Path(paths.capath).glob("*.0")):
        os.environ["SSL_CERT_DIR"] = paths.capath
        return
    raise ValueError(
        "says sslrootcert=system, and this system has no certificates of authorities; "
        "install the package ca-certificates, or set SSL_CERT_FILE to a file of them"
    )


# Keys and tokens


def _strong(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Raise ValueError for a secret shorter than the hash output (RFC 7518, section 3.2) or a public key."""
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
    url = _url(value)
    if not (url.scheme == "https" or (url.scheme == "http" and _loopback(url.hostname or ""))):
        raise ValueError("is not an https address (http is for localhost only)")
    if not url.hostname or not value.isascii() or " " in value:
        raise ValueError("is not an address")
    if "@" in url.netloc or url.fragment or url.port == 0:
        raise ValueError("is not just host, port, path and query")
    return value


def _url(value: str) -> SplitResult:
    """Split a URL. Raise ValueError if its host or port is not valid; the message does not repeat the URL."""
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise ValueError(
            f"is not an address; write its host, and a port from 1 to {MAX_PORT} or none"
        ) from None
    return url


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# Browsers

DEFAULT_PORTS = {"http": 80, "https": 443}
# Schemes whose pages do not have an origin that could be allowed.
NO_PAGES = {"about", "blob", "data", "file", "ftp", "javascript", "mailto", "ws", "wss"}
LABEL = re.compile(r"[a-z0-9_-]{1,63}")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a host whose last label matches this is an IPv4 address
MAX_HOST_NAME = 253
# Second-level labels of country domains below which anyone can register a name, as in co.uk.
REGISTRIES = {
    *("ac", "co", "com", "edu", "go", "gob", "gov", "ltd"),
    *("mil", "ne", "net", "nom", "or", "org", "plc", "sch"),
}


def _origins(values: list[str]) -> list[str]:
    for value in values:
        _origin(value)
    return values


def _origin(value: str) -> None:
    """Raise ValueError for an origin that no browser sends.

    Origins are compared byte by byte (RFC 6454, section 6.2), so it would never match.
    """
    if value == "*":
        raise ValueError("has *, which is every page of the web; write the origins, one by one")
    if value == "null":
        raise ValueError("has null, which any page can send; write the origin of yours")
    if "@" in value:  # the message does not repeat it: it may hold a password
        raise ValueError("has an origin with a user name, which no browser sends; write https://HOST")
    if re.search(r"[\s;]", value):
        raise ValueError(f"has {value}, more than one origin; write commas between them")
    scheme, found, rest = value.partition("://")
    if not found:
        raise ValueError(f"has {value}, an origin without a scheme; write https:// or http:// before it")
    sent = f"{_scheme(scheme)}://{_authority(scheme.lower(), rest)}"
    if sent != value:
        raise ValueError(f"has {value}, which a browser sends as {sent}; write it so")


def _scheme(scheme: str) -> str:
    lower = scheme.lower()
    near = get_close_matches(lower, DEFAULT_PORTS, 1, 0.7)
    if lower in NO_PAGES or not re.fullmatch(r"[a-z][a-z0-9+.-]*", lower):
        raise ValueError(f"has the scheme {scheme}, from which no page comes; write https or http")
    if lower not in DEFAULT_PORTS and near:
        raise ValueError(f"has the scheme {scheme}; write {near[0]}")
    return lower


def _authority(scheme: str, rest: str) -> str:
    """Return host and port as a browser writes them (URL standard, sections 3.5 and 3.6)."""
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    host, _, port = authority.rpartition(":") if re.search(r":[^\]]*$", authority) else (authority, "", "")
    if not re.fullmatch("[0-9]*", port) or (port and int(port) not in range(1, MAX_PORT + 1)):
        raise ValueError(f"has a port that is not between 1 and {MAX_PORT} in an origin; write one, or none")
    if not host:
        raise ValueError("has an origin without a host; write https://HOST")
    default = not port or int(port) == DEFAULT_PORTS.get(scheme)
    return _host_name(host.lower(), scheme) + ("" if default else f":{int(port)}")


def _host_name(host: str, scheme: str) -> str:
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host.strip('[]').partition('%')[0]).compressed}]"
        except AddressValueError:
            raise ValueError(
                f"has the host {host}, which is not an IPv6 address; write one, like [::1]"
            ) from None
    if not host.isascii():
        return _punycode(host)
    labels = host.removesuffix(".").split(".")
    if "*" in host:
        _pattern(host, labels, scheme)
    elif NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise ValueError(
                f"has the host {host}, which is not an IPv4 address; write one, like 127.0.0.1"
            ) from None
    if len(host) > MAX_HOST_NAME or not all(LABEL.fullmatch(label.replace("*", "x")) for label in labels):
        raise ValueError(f"has the host {host}, which is not a host name; write one")
    return host


def _punycode(host: str) -> str:
    """Return the ASCII form of an internationalised host name.

    Python implements IDNA 2003, browsers IDNA 2008. Raise ValueError for a name that does not survive
    encoding and decoding, since a browser may encode it differently.
    """
    try:
        encoded = host.encode("idna")
    except UnicodeError:
        encoded = b""
    if encoded.decode("idna") != host:
        raise ValueError(f"has the host {host}; write the name in punycode, as a browser sends it: xn--…")
    return encoded.decode()


def _pattern(host: str, labels: list[str], scheme: str) -> None:
    """Raise ValueError if * can match hosts of other owners, as in https://*.com, or part of an address."""
    last = max(number for number, label in enumerate(labels) if "*" in label)
    behind = labels[last + 1 :]
    match behind:
        case [] | [_]:
            owned = behind == ["localhost"]
        case [second, country] if len(country) == len("uk"):
            owned = second not in REGISTRIES
        case _:
            owned = not NUMBER.fullmatch(behind[-1])
    if not owned or host.count("*") > 1 or scheme not in DEFAULT_PORTS:
        raise ValueError(
            f"has the host {host}, in which * is not one part of a name before a domain that is registered; "
            "write it like https://*.example.com or https://app-*.example.com"
        )


# Where to listen


def _bindable(value: str) -> str:
    """Raise ValueError for a value that is not a host. Only bind() finds out whether it is local."""
    if value == "*":
        raise ValueError("is *; write 0.0.0.0, or :: with IPv6, to listen on all addresses")
    if SCHEME.match(value) or re.search(r"[/?#@]", value):
        raise ValueError("is more than a host; write an address or a name alone, like 127.0.0.1 or 0.0.0.0")
    if value.startswith("["):
        raise ValueError("is in brackets; write an IPv6 address without them, like ::1, and the port as PORT")
    if value.count(":") == 1:
        raise ValueError("holds a port; write the host alone, and the port as PORT")
    if ":" in value:
        try:
            IPv6Address(value)
        except AddressValueError:
            raise ValueError("is not an IPv6 address; write one, like ::1") from None
    elif not all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in value.removesuffix(".").split(".")):
        raise ValueError("is not a host name or an address; write one, like 127.0.0.1 or 0.0.0.0")
    return value


# Segments of pchar (RFC 3986, section 3.3), none of them empty.
PATH = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*")


def _prefix(value: str) -> str:
    """Raise ValueError for a prefix that cannot begin the path of a URL."""
    if value and not value.startswith("/"):
        raise ValueError("does not start with a slash; write it like /tasks")
    if value.endswith("/"):
        raise ValueError("ends with a slash; write it without, like /tasks")
    if not PATH.fullmatch(value) or {".", ".."}.intersection(value.split("/")):
        raise ValueError("is not the path of a URL; percent-encode what may not stand in one, like /a%20b")
    return value


SECRET = Field(validation_alias=AliasChoices("JWT_SECRET", BETTER_AUTH), validate_default=True)
JwtSecret = Annotated[SecretStr | None, SECRET, AfterValidator(_needed), AfterValidator(_strong)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_conninfo)]
OwnerUrl = Annotated[DatabaseUrl, AfterValidator(_of_owner)]
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Algorithms = Annotated[list[Literal[Hmac, Published]], NoDecode, BeforeValidator(_split)]
S = TypeVar("S", bound="Base")


class Base(BaseSettings):
    """Reads settings from the environment, and those that are not there from .env."""

    model_config = SettingsConfigDict(
        env_file=FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def check_edges(cls, value: object, info: ValidationInfo) -> object:
        """Refuse quotes, white space and line ends around any value."""
        return _check_edges(value, str(info.field_name).upper()) if isinstance(value, str) else value


class MigrationSettings(Base):
    """Settings of `make migrate`."""

    migration_database_url: OwnerUrl


class TokenSettings(Base):
    """Settings for verifying tokens, and for `make token`."""

    jwt_algorithms: Algorithms = ["HS256", "EdDSA", "ES256", "RS256", "PS256"]
    jwt_jwks_url: Annotated[str | None, AfterValidator(_trustworthy)] = None
    jwt_secret: JwtSecret = None  # validated after the fields that it depends on
    jwt_secret_previous: Annotated[SecretStr | None, AfterValidator(_strong)] = None
    jwt_audience: Names = []
    jwt_issuer: Names = []
    jwt_user_claim: str = "sub"
    jwt_leeway: Annotated[int, Field(ge=0, le=300)] = 10  # seconds

    @model_validator(mode="after")
    def verifies_some_token(self) -> Self:
        """Refuse algorithms that no configured key can verify: every request would get a 401."""
        with_secret = self.jwt_secret and HMAC.intersection(self.jwt_algorithms)
        with_published = self.jwt_jwks_url and not HMAC.issuperset(self.jwt_algorithms)
        if not with_secret and not with_published:
            what = "the keys at JWT_JWKS_URL verify" if self.jwt_jwks_url else "JWT_SECRET verifies"
            like = "EdDSA, ES256 or RS256" if self.jwt_jwks_url else "HS256"
            raise ValueError(f"JWT_ALGORITHMS: names none that {what}; write one, like {like}")
        return self


class DatabaseSettings(Base):
    """The database, as the role tasks_api reaches it."""

    database_url: DatabaseUrl


class Settings(DatabaseSettings, TokenSettings):
    """Settings of the API. `.env.example` explains each."""

    cors_origins: Annotated[Names, AfterValidator(_origins)] = ["http://localhost:3000"]
    host: Annotated[str, AfterValidator(_bindable)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] = 8000
    keep_alive: Annotated[int, Field(ge=1, le=3600)] = 75  # seconds
    root_path: Annotated[str, AfterValidator(_prefix)] = ""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    prepared_statements: bool = True
    on_hole: Literal["refuse", "warn"] = "refuse"
    web_concurrency: Annotated[int, Field(ge=1, le=1024)] = 1
    log_format: Literal["plain", "json"] = "plain"
    log_users: Literal["hash", "id", "none"] = "hash"
    metrics: bool = False
    docs: bool = True


def load(kind: type[S]) -> S:
    """Read the settings. End the process with one line for each that is missing or wrong."""
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
    if name == "JWT_SECRET" and name not in (given := _given()) and BETTER_AUTH in given:
        wrong = f"{BETTER_AUTH} {wrong}"
    return f"{name}: {wrong}" if "; " in wrong else f"{name}: {wrong}; {HINTS.get(name, 'see .env.example')}"


def _problem(field: FieldInfo, error: ErrorDetails) -> str:
    """Return a message for pydantic's error: its own messages address programmers."""
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
        wrong = "is a directory, which Docker makes for a file that is not there; replace it by a file"
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}; let this user read it, or take it away"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        wrong = "is in UTF-16, as PowerShell writes it" if utf_16 else f"is not UTF-8 in line {line}"
        wrong += "; save it as UTF-8"
    else:
        if "\0" not in text:
            return text
        wrong = "holds NUL characters, as UTF-16 does; save it as UTF-8"
    raise SystemExit(f"{FILE}: {wrong}")


def find_mistakes() -> list[str]:
    """Return warnings about probable mistakes in how values are written, and in names."""
    lines = [(name.upper(), value.strip()) for name, value in ASSIGNMENT.findall(_read_file())]
    times = Counter(name for name, _ in lines)
    twice = [
        f"{FILE}: {name} is set {times[name]} times; the last one counts" for name in NAMES if times[name] > 1
    ]
    replaced = [
        f"{FILE}: ${{…}} in {name} is replaced by a variable; to keep it, set it in the environment"
        for name, value in lines
        if name in NAMES and re.search(r"\$\{[^}]*\}", value)
    ]
    given = {name.upper(): value for name, value in [*lines, *os.environ.items()]}
    quoted = [
        f"{name} ends with a quote and does not begin with one; is it a part of the value?"
        for name, value in given.items()
        if name in NAMES and value[-1:] in QUOTES.values() and QUOTES.get(value[0]) != value[-1]
    ]
    misspelt = [f"{wrong} is not a setting; is {name} meant?" for name, wrong in misspellings().items()]
    return sorted(twice + replaced + quoted + misspelt)


def misspellings() -> dict[str, str]:
    """Return misspelt names by setting: names of variables that are similar to a setting that is not set."""
    given = _given()
    near = {wrong: get_close_matches(wrong, NAMES - given, 1, 0.88) for wrong in sorted(given - NAMES)}
    return {names[0]: wrong for wrong, names in near.items() if names}


def _given() -> set[str]:
    """Return the names of all variables that the environment or .env gives a value."""
    pairs = [*os.environ.items(), *ASSIGNMENT.findall(_read_file())]
    return {name.upper() for name, value in pairs if value.strip("\"'\r")}


NAMES = {name.upper() for name in (*Settings.model_fields, *MigrationSettings.model_fields, BETTER_AUTH)}
