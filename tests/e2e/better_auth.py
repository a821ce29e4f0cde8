"""Better Auth registers users, the API accepts its tokens, and a page in a browser uses both."""

import base64
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from conftest import Api, Server, deployed, free_port, on_18
from support.node import E2E, bundle, chromium, for_node, run

__all__ = ["chromium"]

pytestmark = on_18


@dataclass(frozen=True)
class Front:
    """A running front end with Better Auth, and its database."""

    url: str
    secret: str
    conninfo: str

    def sign_up(self, name: str) -> "Person":
        """Create an account over HTTP, and sign in."""
        client = httpx.Client(base_url=self.url, headers={"Origin": self.url}, timeout=20)
        email, password = f"{name}-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(12)
        answer = client.post(
            "/api/auth/sign-up/email", json={"name": name, "email": email, "password": password}
        )
        assert answer.status_code == 200, answer.text
        return Person(answer.json()["user"]["id"], email, password, client)

    def rotate(self, statement: str) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(statement)


@dataclass(frozen=True)
class Person:
    """A user with an account."""

    id: str
    email: str
    password: str
    client: httpx.Client

    def token(self, path: str = "/api/auth/token") -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def tasks(self, api: Api, token: str, user: str | None = None, **how: Any) -> httpx.Response:
        url = f"{api.url}/api/{user or self.id}/tasks"
        method = how.pop("method", "GET")
        return httpx.request(method, url, headers={"Authorization": f"Bearer {token}"}, timeout=20, **how)


@contextmanager
def fronting(server: Server, database: str) -> Iterator[Front]:
    front = Front(
        f"http://localhost:{free_port()}", secrets.token_hex(32), server.conninfo(database, "postgres")
    )
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "PGHOST": server.host,
        "PGDATABASE": database,
        "PGUSER": "postgres",
        "BETTER_AUTH_URL": front.url,
        "BETTER_AUTH_SECRET": front.secret,
        "BETTER_AUTH_TELEMETRY": "0",
        "JWT_SECRET": front.secret,
    }
    page = bundle("page.ts", "--define:process.env.NEXT_PUBLIC_API_URL=API")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["node", for_node("front.ts")],
            cwd=E2E,
            env=environment | {"PAGE": str(page)},
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(300):
                try:
                    httpx.get(f"{front.url}/mails").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
                    if process.poll() is not None:
                        break
            else:
                pytest.fail("the front end does not answer")
            log.seek(0)
            assert process.poll() is None, log.read().decode()
            yield front
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="session")
def front(server: Server) -> Iterator[Front]:
    """Better Auth on a separate database."""
    with server.database() as name, fronting(server, name) as running:
        yield running


@pytest.fixture(scope="session")
def api(server: Server, database: str, front: Front) -> Iterator[Api]:
    """The API with both kinds of keys, as app/api/README.md describes."""
    with deployed(
        server.conninfo(database, "tasks_api"),
        JWT_JWKS_URL=f"{front.url}/api/auth/jwks",
        JWT_SECRET=front.secret,
        JWT_ISSUER=front.url,
        JWT_AUDIENCE=front.url,
        CORS_ORIGINS=front.url,
    ) as running:
        yield running


@pytest.fixture
def alice(front: Front) -> Iterator[Person]:
    """A user."""
    person = front.sign_up("alice")
    with closing(person.client):
        yield person


@pytest.fixture
def bob(front: Front) -> Iterator[Person]:
    """Another user."""
    person = front.sign_up("bob")
    with closing(person.client):
        yield person


def test_a_token_of_better_auth_gives_access_only_to_its_users_tasks(
    api: Api, alice: Person, bob: Person
) -> None:
    token = alice.token()
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"sub", "iss", "aud", "iat", "exp"}  # neither an email nor a name
    created = alice.tasks(api, token, method="POST", json={"title": "Buy milk"})
    assert (created.status_code, created.json()["user_id"]) == (201, alice.id)
    assert alice.tasks(api, token).json() == [created.json()]
    assert bob.tasks(api, bob.token()).json() == []
    assert bob.tasks(api, bob.token(), alice.id).status_code == 403
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sub": bob.id}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert alice.tasks(api, f"{header}.{forged}.{signature}", bob.id).status_code == 401


def test_a_token_signed_with_the_shared_secret_gives_access_to_the_same_tasks(
    api: Api, alice: Person
) -> None:
    created = alice.tasks(api, alice.token("/api/token"), method="POST", json={"title": "Buy milk"})
    assert created.status_code == 201
    assert alice.tasks(api, alice.token()).json() == [created.json()]


def test_tokens_that_better_auth_signs_for_other_purposes_are_refused(api: Api, alice: Person) -> None:
    alice.client.post("/api/auth/send-verification-email", json={"email": alice.email}).raise_for_status()
    token = alice.client.get("/mails").json()[-1]
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert alice.tasks(api, token).status_code == 401
    for cookie in alice.client.cookies.jar:
        assert alice.tasks(api, str(cookie.value)).status_code == 401


def test_the_key_rotates_without_a_restart(api: Api, front: Front, alice: Person) -> None:
    old = alice.token()
    assert alice.tasks(api, old).status_code == 200

    front.rotate('update jwks set "expiresAt" = now()')  # as rotationInterval does: kept for a grace period
    new = alice.token()
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
    assert until(200, api, alice, new)
    assert alice.tasks(api, old).status_code == 200

    front.rotate("delete from jwks")  # as after a leak: withdrawn at once
    newest = alice.token()
    assert until(200, api, alice, newest)
    assert alice.tasks(api, old).status_code == 401
    assert alice.tasks(api, new).status_code == 401


def until(status: int, api: Api, person: Person, token: str) -> bool:
    """Wait for a status: another request may have caused a fetch of the keys just before."""
    for _ in range(100):
        if person.tasks(api, token).status_code == status:
            return True
        time.sleep(0.1)
    return False


def test_a_token_is_reused_until_shortly_before_it_expires_and_requested_once_more_after_a_401(
    api: Api, front: Front, alice: Person
) -> None:
    claims = {"iss": front.url, "aud": front.url}
    run(
        "node",
        for_node("kept.ts"),
        NEXT_PUBLIC_API_URL=api.url,
        GOOD=alice.token(),
        SOON=api.token(alice.id, exp=int(time.time()) + 20, **claims),
        WRONG=api.token(alice.id, iss="another", aud=front.url),
    )


def test_a_page_of_an_allowed_origin_can_send_requests_and_read_responses_in_a_browser(
    api: Api,
    front: Front,
    alice: Person,
    chromium: str,
) -> None:
    seen = json.loads(
        run(
            "node",
            "browser.mjs",
            FRONT=front.url,
            API=api.url,
            EMAIL=alice.email,
            PASSWORD=alice.password,
            CHROMIUM=chromium,
        )
    )
    assert seen["errors"] == []
    assert seen["left"] == ["Buy milk"]
    assert seen["tokens"] == 1  # for all of it

    statuses = {name: answer["status"] for name, answer in seen.items() if isinstance(answer, dict)}
    assert statuses == {
        "created": 201,
        "replayed": 201,
        "read": 200,
        "changed": 200,
        "stale": 412,
        "fresh": 304,
        "page": 200,
        "deleted": 204,
        "gone": 404,
        "unsigned": 401,
    }
    exposed = {name: set(answer["headers"]) for name, answer in seen.items() if name in statuses}
    assert {"etag", "location", "x-request-id"} <= exposed["created"]
    assert seen["created"]["headers"]["x-request-id"] == "mine"
    assert seen["replayed"]["headers"]["idempotency-replayed"] == "true"
    assert 'rel="next"' in seen["page"]["headers"]["link"]
    for name in ("stale", "gone", "unsigned"):
        assert seen[name]["headers"]["content-type"] == "application/problem+json"
        assert seen[name]["body"]["status"] == statuses[name]
        assert "x-request-id" in exposed[name]
    assert seen["stranger"] == "TypeError"  # no page of an origin that is not allowed gets an answer
