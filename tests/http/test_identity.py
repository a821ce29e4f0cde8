"""The token identifies the user, the path must name the same user, and any other request is refused."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import jwt
import pytest
from conftest import Api, Person
from support.contract import ask, assert_problem, assert_task, tasks_of

FORBIDDEN = "Not authorized to access this user's tasks"
ODD_USERS = [
    *(
        "a/b",
        "/",
        "//",
        "a%2Fb",
        "a%252Fb",
        "100%",
        "%",
        "a b",
        " ",
        "a+b",
        "a;b=c",
        "a?b",
        "a#b",
        "a\\b",
        "a:b@c",
    ),
    *(
        ".",
        "..",
        "...",
        "tasks",
        "a\nb",
        "\n",
        "\r\n",
        "\t",
        "\x7f",
        "'; select 1 --",
        "$1",
        "%s",
        "{user_id}",
    ),
    *("ü", "u\u0308", "用户", "😀", "\u202e", "\ufeff", "\ufffd", "Alice", "alice", "-0", "007"),
    *("x" * 255, "ü" * 255, "😀" * 255, "/" * 255),
]


@pytest.mark.parametrize("user", ODD_USERS)
def test_any_user_id_works_percent_encoded(api: Api, user: str) -> None:
    token, path = api.token(user), tasks_of(user)
    made = ask(api, "POST", path, token=token, body=b'{"title": "Mine"}')
    task = assert_task(made, 201)
    assert task["user_id"] == user
    own = made.headers["location"]
    assert own.replace("%2E", ".") == f"{path}/{task['id']}"  # encoded: clients resolve `.` and `..`
    assert assert_task(ask(api, "GET", own, token=token)) == task
    assert assert_task(ask(api, "PUT", own, token=token, body=b"{}")) == task
    assert assert_task(ask(api, "PATCH", f"{own}/complete", token=token))["completed"] is True
    # Other files use some of these users, too.
    assert {task["user_id"] for task in ask(api, "GET", path, token=token).json()} == {user}
    assert ask(api, "DELETE", own, token=token).status_code == 204


@pytest.mark.parametrize("user", [0, -7, 42, 10**254])
def test_an_integer_claim_is_converted_to_its_decimal_string(api: Api, user: int) -> None:
    made = ask(api, "POST", f"/api/{user}/tasks", token=api.token(user), body=b'{"title": "Mine"}')
    assert assert_task(made, 201)["user_id"] == str(user)
    as_text = ask(api, "GET", f"/api/{user}/tasks", token=api.token(str(user)))
    assert as_text.json() == [made.json()]


def test_any_equivalent_percent_encoding_of_a_path_is_accepted(api: Api, alice: Person) -> None:
    task = alice.create()
    everything = "".join(f"%{byte:02x}" for byte in alice.name.encode())
    for path in (f"/api/{everything}/tasks/1", f"/%61pi/{alice.name}/t%61sks/%31"):
        assert assert_task(ask(api, "GET", path, token=alice.token)) == task


@pytest.mark.parametrize(
    ("user", "segment"),
    [
        *(
            ("alice", "bob"),
            ("alice", "Alice"),
            ("alice", "alice%20"),
            ("alice", "alice;x"),
            ("alice", "alic"),
        ),
        *(
            ("alice", "alice%00"),
            ("alice", "%00alice"),
            ("alice", "alice%0A"),
            ("alice", "alice%2F"),
            ("x", "%00"),
        ),
        *(("a/b", "a%252Fb"), ("a%2Fb", "a%2Fb"), ("a b", "a+b"), ("a+b", "a%20b"), ("a/b", "a%5Cb")),
        *(
            ("ü", "u%CC%88"),
            ("ü", "%FC"),
            ("\ufffd", "%FF"),
            ("\ufffd", "%ED%A0%80"),
            ("?", "%FF"),
            ("x", "%FF"),
        ),
        *(("a/b", "a%ED%B0%AFb"), ("..", "."), ("x" * 255, "x" * 256), ("42", "%D9%A4%D9%A2"), ("a", "a,b")),
        *(("alice", "%25"), ("alice", "*"), ("alice", "undefined"), ("alice", "null"), ("/", "%C0%AF")),
    ],
)
def test_the_path_of_another_user_is_forbidden(api: Api, user: str, segment: str) -> None:
    token = api.token(user)
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("PUT", "/1"),
        ("PATCH", "/1/complete"),
        ("DELETE", "/x"),
    ):
        answer = ask(api, method, f"/api/{segment}/tasks{path}", token=token)
        assert_problem(answer, 403, FORBIDDEN)
        assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/api/a/b/tasks", "/api//tasks", "/api/a/../a/b/tasks", "/api/./a%2Fb/tasks"]
)
def test_a_slash_in_a_user_id_must_be_encoded(api: Api, path: str) -> None:
    assert_problem(ask(api, "GET", path, token=api.token("a/b")), 404, "not found")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(api: Api, payload: bytes, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """Sign any payload, even one that libraries would refuse."""
    text = f"{b64(header.encode())}.{b64(payload)}"
    return f"{text}.{b64(hmac.digest(api.secret.encode(), text.encode(), hashlib.sha256))}"


def claims(**changes: object) -> bytes:
    given = {"sub": "alice", "exp": int(time.time()) + 600} | changes
    return json.dumps({name: value for name, value in given.items() if value is not ...}).encode()


def encoded(key: str, algorithm: str) -> str:
    return jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, key, algorithm)


def signed_by_nobody() -> str:
    return jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, None, "none")  # type: ignore[arg-type]


def altered(token: str, part: int, old: str, new: str) -> str:
    parts = token.split(".")
    decoded = base64.urlsafe_b64decode(parts[part] + "==").decode()
    assert old in decoded
    parts[part] = b64(decoded.replace(old, new).encode())
    return ".".join(parts)


BAD_TOKENS: dict[str, Callable[[Api], str]] = {
    "no JWT": lambda _: "x",
    "three dots": lambda _: "...",
    "three words": lambda _: "a.b.c",
    "not base64": lambda _: "!.!.!",
    "beyond ASCII": lambda api: api.token("alice") + "é",
    "beyond ASCII in front": lambda api: "é" + api.token("alice"),
    "two tokens": lambda api: f"{api.token('alice')} {api.token('alice')}",
    "a comma": lambda api: f"{api.token('alice')},{api.token('alice')}",
    "in quotes": lambda api: f'"{api.token("alice")}"',
    "cut off": lambda api: api.token("alice")[:-1],
    "no signature": lambda api: api.token("alice").rpartition(".")[0] + ".",
    "two parts": lambda api: api.token("alice").rpartition(".")[0],
    "too long": lambda api: signed(api, claims(more="x" * 40_000)),
    "another secret": lambda _: encoded("x" * 64, "HS256"),
    "no algorithm": lambda _: signed_by_nobody(),
    "algorithm taken away": lambda api: altered(api.token("alice"), 0, "HS256", "none"),
    "HS384": lambda api: encoded(api.secret, "HS384"),
    "HS512": lambda api: encoded(api.secret, "HS512"),
    "RS256 by name": lambda api: signed(api, claims(), '{"alg":"RS256"}'),
    "HS256 in lower case": lambda api: signed(api, claims(), '{"alg":"hs256"}'),
    "an algorithm of null": lambda api: signed(api, claims(), '{"alg":null}'),
    "an algorithm in a list": lambda api: signed(api, claims(), '{"alg":["HS256"]}'),
    "a header of a list": lambda api: signed(api, claims(), "[]"),
    "a header that is no JSON": lambda api: signed(api, claims(), "{"),
    "a critical extension": lambda api: signed(api, claims(), '{"alg":"HS256","crit":["x"],"x":1}'),
    "a key id of a list": lambda api: signed(api, claims(), '{"alg":"HS256","kid":[]}'),
    "a detached payload": lambda api: signed(api, claims(), '{"alg":"HS256","b64":false,"crit":["b64"]}'),
    "another payload": lambda api: altered(api.token("bob"), 1, "bob", "alice"),
    "a payload of a list": lambda api: signed(api, b"[]"),
    "a payload of null": lambda api: signed(api, b"null"),
    "a payload of text": lambda api: signed(api, b'"alice"'),
    "a payload that is no JSON": lambda api: signed(api, b"alice"),
    "a payload that is not UTF-8": lambda api: signed(api, b'{"sub": "\xff"}'),
    "a payload without end": lambda api: signed(api, b"[" * 5_000),
    "an empty payload": lambda api: signed(api, b""),
    "a number without end": lambda api: signed(api, b'{"sub": 1' + b"0" * 5_000 + b', "exp": 9999999999}'),
    "no exp": lambda api: signed(api, claims(exp=...)),
    "an exp of null": lambda api: signed(api, claims(exp=None)),
    "an exp of text": lambda api: signed(api, claims(exp="soon")),
    "an exp of a list": lambda api: signed(api, claims(exp=[9999999999])),
    "an exp of an object": lambda api: signed(api, claims(exp={})),
    "an exp without end": lambda api: signed(api, b'{"sub": "alice", "exp": Infinity}'),
    "an exp that is no number": lambda api: signed(api, b'{"sub": "alice", "exp": NaN}'),
    "an exp too large": lambda api: signed(api, b'{"sub": "alice", "exp": 1e999}'),
    "expired beyond the leeway": lambda api: api.token("alice", exp=int(time.time()) - 12),
    "expired long ago": lambda api: api.token("alice", exp=1),
    "expired in negative time": lambda api: api.token("alice", exp=-1),
    "not valid yet": lambda api: api.token("alice", nbf=int(time.time()) + 600),
    "an nbf of null": lambda api: signed(api, claims(nbf=None)),
    "an nbf of text": lambda api: signed(api, claims(nbf="now")),
    "an nbf without end": lambda api: signed(api, claims()[:-1] + b', "nbf": Infinity}'),
    "issued in the future": lambda api: api.token("alice", iat=int(time.time()) + 600),
    "an iat of text": lambda api: signed(api, claims(iat="now")),
    "an iat of an object": lambda api: signed(api, claims(iat={})),
    "no sub": lambda api: signed(api, claims(sub=...)),
    "a sub of null": lambda api: signed(api, claims(sub=None)),
    "a sub of true": lambda api: signed(api, claims(sub=True)),
    "a sub of false": lambda api: signed(api, claims(sub=False)),
    "a fractional sub": lambda api: signed(api, claims(sub=1.5)),
    "a float sub": lambda api: signed(api, claims(sub=1.0)),
    "a sub of a list": lambda api: signed(api, claims(sub=["alice"])),
    "a sub of an object": lambda api: signed(api, claims(sub={"id": "alice"})),
    "an empty sub": lambda api: signed(api, claims(sub="")),
    "a sub of 256 characters": lambda api: signed(api, claims(sub="x" * 256)),
    "a sub of 256 digits": lambda api: signed(api, claims(sub=10**255)),
    "a sub with NUL": lambda api: signed(api, claims(sub="alice\0")),
    "a sub of NUL": lambda api: signed(api, claims(sub="\0")),
    "a sub with a high surrogate": lambda api: signed(api, claims(sub="a\ud800")),
    "a sub with a low surrogate": lambda api: signed(api, claims(sub="\udc2fa")),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_is_refused(api: Api, kind: str) -> None:
    headers = [("Authorization", f"Bearer {BAD_TOKENS[kind](api)}")]
    for method, path in (("GET", "/api/alice/tasks"), ("PATCH", "/api/bob/tasks/1/complete")):
        answer = ask(api, method, path, headers=headers)
        assert_problem(answer, 401, "token")
        (challenge,) = answer.headers.get_list("www-authenticate")
        assert challenge.startswith("Bearer ")
        assert 'error="invalid_token"' in challenge


NO_TOKENS = [
    "",
    "Bearer",
    "Bearer  ",
    "Basic YWxpY2U6YWxpY2U=",
    "Token x",
    "Digest",
    "x",
    "Bearertoken",
    "é",
    '"Bearer" x',
    "Bearer,x",
]


@pytest.mark.parametrize("given", [None, *NO_TOKENS])
def test_a_request_without_a_token_is_refused(api: Api, given: str | None) -> None:
    headers = [] if given is None else [("Authorization", given)]
    answer = ask(api, "GET", "/api/alice/tasks", headers=headers)
    assert_problem(answer, 401, "token")
    assert answer.headers.get_list("www-authenticate") == ["Bearer"]


def test_a_token_without_the_scheme_is_refused(api: Api, alice: Person) -> None:
    answer = ask(api, "GET", tasks_of(alice.name), headers=[("Authorization", alice.token)])
    assert_problem(answer, 401, "token")


@pytest.mark.parametrize("where", ["?access_token={}", "?token={}", "?Authorization=Bearer%20{}"])
def test_a_token_in_the_query_or_a_cookie_is_ignored(api: Api, alice: Person, where: str) -> None:
    cookies = [("Cookie", f"token={alice.token}; Authorization=Bearer {alice.token}")]
    answer = ask(api, "GET", tasks_of(alice.name) + where.format(alice.token), headers=cookies)
    assert_problem(answer, 401, "token")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_may_be_in_any_case(api: Api, alice: Person, scheme: str) -> None:
    headers = [("Authorization", f"{scheme} {alice.token}")]
    assert ask(api, "GET", tasks_of(alice.name), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "further",
    [
        {"exp": -1},
        {"exp": 10**9},
        {"exp": 600.5},
        {"nbf": 8},
        {"iat": 8},
        {"nbf": -9, "iat": -9.5},
    ],
)
def test_clocks_may_differ_by_the_leeway(api: Api, further: dict[str, float]) -> None:
    token = api.token("alice", **{name: time.time() + offset for name, offset in further.items()})
    assert ask(api, "GET", "/api/alice/tasks", token=token).status_code == 200


@pytest.mark.parametrize(
    "further",
    [
        {"aud": "anyone"},
        {"aud": ["a", "b"]},
        {"iss": "https://elsewhere.example"},
        {"jti": 7, "role": "admin", "is_superuser": True},
        {"user_id": "bob", "id": "bob", "email": "bob@example.org", "app.user_id": "bob"},
    ],
)
def test_other_claims_have_no_effect(api: Api, further: dict[str, object]) -> None:
    token = api.token("alice", **further)
    assert ask(api, "GET", "/api/alice/tasks", token=token).status_code == 200
    assert_problem(ask(api, "GET", "/api/bob/tasks", token=token), 403, FORBIDDEN)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(("user", "status"), [(None, 401), ("bob", 403)])
def test_the_user_is_checked_before_the_body_is_read(
    api: Api, method: str, user: str | None, status: int
) -> None:
    path = "/api/alice/tasks" + ("" if method == "POST" else "/1")
    announced = [("Content-Length", "60000")]  # the body is never sent
    answer = ask(api, method, path, headers=announced, token=user and api.token(user))
    assert_problem(answer, status)


@pytest.mark.parametrize("path", ["/api/alice/tasks?limit=0", "/api/alice/tasks/x", "/api/alice/tasks/99"])
def test_the_user_is_checked_before_everything_else(api: Api, path: str) -> None:
    assert_problem(ask(api, "GET", path), 401, "token")
    assert_problem(ask(api, "GET", path, token=api.token("bob")), 403, FORBIDDEN)
    too_long = b"x" * 70_000
    assert_problem(ask(api, "POST", "/api/alice/tasks", body=too_long), 401, "token")
    assert_problem(
        ask(api, "POST", "/api/alice/tasks", body=too_long, token=api.token("bob")), 403, FORBIDDEN
    )


def test_a_refusal_does_not_contain_the_token(api: Api) -> None:
    for token in (api.token("bob"), api.token("alice", exp=1)):
        answer = ask(api, "GET", f"/api/{quote('alice')}/tasks", token=token)
        assert token[:20] not in answer.text + str(answer.headers)
