"""An issuer of tokens on the loopback that can fail in several ways, and the verifier without a server."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from app.identity.keys import Keys
from app.identity.tokens import Tokens
from app.problems import Problem
from app.settings import TokenSettings, load

T = TypeVar("T")
ME = "https://tasks.example"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def new_key(algorithm: str, bits: int = 2048) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    return rsa.generate_private_key(65537, bits)


def as_jwk(key: Any, algorithm: str, **members: object) -> dict[str, Any]:
    jwk: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {name: value for name, value in jwk.items() if name != "key_ops"} | members


def certificate(folder: Path, host: str = "localhost") -> Path:
    """Return a PEM file with a self-signed certificate for this host and its key."""
    private, name = new_key("ES256"), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(pem + signed.public_bytes(Encoding.PEM))
    return file


class Handler(BaseHTTPRequestHandler):
    """Handles requests with the current behaviour of the issuer."""

    issuer: "Issuer"

    def do_GET(self) -> None:
        self.issuer.fetches += 1
        self.issuer.asked.append(self.path)
        with suppress(OSError):  # the client closed the connection
            self.issuer.behave(self)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Issuer:
    """Publishes the public halves of its keys at `url`, and signs."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.server_port}/jwks"
        self.keys: dict[str, tuple[str, Any]] = {}
        self.published: list[object] = []
        self.fetches = 0
        self.asked: list[str] = []
        self.behave: Callable[[Handler], None] = self.publish
        self.over = threading.Event()

    def add(self, kid: str, algorithm: str = "EdDSA", **members: object) -> "Issuer":
        private = new_key(algorithm)
        self.keys[kid] = (algorithm, private)
        self.published.append(as_jwk(private.public_key(), algorithm, kid=kid, alg=algorithm) | members)
        return self

    def withdraw(self, kid: str) -> None:
        self.published = [jwk for jwk in self.published if not isinstance(jwk, dict) or jwk["kid"] != kid]

    def publish(self, handler: Handler) -> None:
        handler.answer(json.dumps({"keys": self.published}).encode())

    def break_down(self, _: Handler | None = None) -> None:
        """Close all connections without a response from now on."""
        self.behave = self.break_down

    def recover(self) -> None:
        self.behave = self.publish

    def sign(self, kid: str, header: dict[str, Any] | None = None, **claims: object) -> str:
        algorithm, private = self.keys[kid]
        payload = json.dumps(usual(self.url) | claims).encode()  # PyJWT would refuse to encode some claims
        return jwt.PyJWS().encode(payload, private, algorithm, {"kid": kid} | (header or {}))


def usual(issuer: str) -> dict[str, Any]:
    """Return valid claims."""
    now = int(time.time())
    return {"sub": "alice", "iat": now, "exp": now + 900, "iss": issuer, "aud": ME}


@contextmanager
def issuing() -> Iterator[Issuer]:
    class Here(Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        Here.issuer = issuer = Issuer(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            issuer.over.set()  # ends slow handlers
            server.shutdown()
            thread.join()


class Verifier:
    """Verifies tokens as each request does, in an event loop that only runs during a call."""

    def __init__(self, runner: asyncio.Runner, tokens: Tokens) -> None:
        self.runner, self.tokens = runner, tokens

    def run(self, task: Coroutine[Any, Any, T]) -> T:
        async def in_time() -> T:
            async with asyncio.timeout(60):
                return await task

        return self.runner.run(in_time())

    def user(self, token: str) -> str:
        return self.run(self.tokens.user(token))

    async def answered(self, token: str) -> str | int:
        """Return the user, or the status of the error response."""
        try:
            return await self.tokens.user(token)
        except Problem as problem:
            return problem.status

    def answer(self, token: str) -> str | int:
        return self.run(self.answered(token))

    def answers(self, tokens: list[str]) -> list[str | int]:
        async def together() -> list[str | int]:
            return await asyncio.gather(*map(self.answered, tokens))

        return self.run(together())

    def detail(self, token: str) -> str:
        """Return the detail of the error response."""
        try:
            user = self.user(token)
        except Problem as problem:
            return problem.detail
        raise AssertionError(f"accepted as {user}")

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def until(self, true: Callable[[], bool]) -> None:
        """Run the event loop, which refreshes the keys, until a condition is true."""
        until = time.monotonic() + 60
        while not true():
            assert time.monotonic() < until, "the condition never became true"
            self.wait(0.02)


@contextmanager
def verifying() -> Iterator[Verifier]:
    """Yield a verifier with the settings of the environment."""
    settings = load(TokenSettings)
    with asyncio.Runner() as runner:

        async def start() -> Keys:
            return await Keys(settings).__aenter__()

        keys = runner.run(start())
        try:
            yield Verifier(runner, Tokens(settings, keys))
        finally:
            runner.run(keys.__aexit__())
