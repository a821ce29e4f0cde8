"""Keys from a secret, an issuer or both: settings, rotation, outages, and how often keys are fetched."""

import asyncio
import base64
import gzip
import hmac
import json
import logging
import os
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from conftest import Server, free_port, serving
from support.issuers import (
    ME,
    Handler,
    Issuer,
    Verifier,
    as_jwk,
    certificate,
    issuing,
    new_key,
    usual,
    verifying,
)
from support.starts import served

from app.commands.token import make_token
from app.identity import Reason, Refused, fetch, keys, tokens
from app.problems import Problem
from app.settings import Settings, TokenSettings, load

SECRET = secrets.token_hex(64)
DEFAULT = ("EdDSA", "ES256", "RS256", "PS256")
BY_SETTING = ("ES384", "ES512", "RS384", "RS512", "PS384", "PS512")
Verify = Callable[..., Verifier]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # has no .env
    for name in os.environ:
        if name.startswith(("JWT_", "BETTER_AUTH_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pause between fetches longer than any test."""
    monkeypatch.setattr(keys, "MIN_FETCH_INTERVAL", 600)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that has no keys yet."""
    with issuing() as running:
        yield running


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Iterator[Verify]:
    """Start a verifier with these settings."""
    with ExitStack() as stack:

        def start(**settings: str) -> Verifier:
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            return stack.enter_context(verifying())

        yield start


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all intervals between fetches, and give a fetch more time."""
    monkeypatch.setattr(keys, "MIN_FETCH_INTERVAL", 0.2)
    monkeypatch.setattr(keys, "RETRY_INTERVAL", 0.1)
    monkeypatch.setattr(keys, "REFRESH_INTERVAL", 0.3)
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT", 60)


def shared(algorithm: str = "HS256", secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode(usual("us") | claims, secret, algorithm)


# Settings


def refused(kind: type[TokenSettings] = TokenSettings) -> str:
    with pytest.raises(SystemExit) as end:
        load(kind)
    assert isinstance(end.value.code, str)
    return end.value.code


def test_without_secret_and_issuer_the_start_fails_and_names_both_settings() -> None:
    assert refused().startswith("JWT_SECRET: is missing")
    assert "JWT_JWKS_URL" in refused()
    assert "\n" not in refused()


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/jwks",
        "http://192.168.0.1/jwks",
        "http://localhost.evil.example/jwks",
        "http://127.0.0.1.evil.example/jwks",
        "http://0.0.0.0/jwks",
        "ftp://localhost/jwks",
        "file:///etc/passwd",
        "data:application/json,{}",
        "https://",
        "https:///jwks",
        "https://user:password@issuer.example/jwks",
        "https://issuer.example/jwks#here",
        "https://issuer.example:99999/jwks",
        "https://issuer.example/jw ks",
        "https://issuer.example/\u00e9",
        "jwks",
    ],
)
def test_an_address_that_others_could_impersonate_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", url)
    assert refused().startswith("JWT_JWKS_URL: ")
    assert "\n" not in refused()
    assert "password" not in refused()


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/jwks",
        "http://localhost:3000/api/auth/jwks",
        "http://127.0.0.2/",
        "http://[::1]:3000/jwks",
    ],
)
def test_https_and_loopback_are_accepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", url)
    assert load(TokenSettings).jwt_jwks_url == url


@pytest.mark.parametrize("algorithms", ["none", "HS256,none", "hs256", "ES256K", "HS1"])
def test_an_algorithm_that_is_unsafe_or_unknown_cannot_be_set(
    algorithms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_ALGORITHMS", algorithms)
    assert refused().startswith("JWT_ALGORITHMS: ")
    assert "\n" not in refused()


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_at_least_as_long_as_the_hash(
    algorithm: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ALGORITHMS", f"HS256,{algorithm}")
    monkeypatch.setenv("JWT_SECRET", SECRET[: size - 1])
    assert refused().startswith(f"JWT_SECRET: is shorter than {size} bytes")
    monkeypatch.setenv("JWT_SECRET", SECRET[:size])
    assert load(TokenSettings)


# The secret


def test_the_secret_verifies_hs256_only(verify: Verify) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    assert verifier.user(shared()) == "alice"
    assert verifier.answer(shared("HS384")) == 401
    assert verifier.answer(shared("HS512")) == 401
    assert verifier.answer(shared(secret=SECRET[1:] + SECRET[0])) == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_longer_hashes_are_accepted_if_the_setting_lists_them(algorithm: str, verify: Verify) -> None:
    verifier = verify(JWT_SECRET=SECRET, JWT_ALGORITHMS=algorithm)
    assert verifier.user(shared(algorithm)) == "alice"
    assert verifier.answer(shared("HS256")) == 401


def test_without_an_issuer_its_tokens_get_401_not_503(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    assert verifier.answer(issuer.add("a").sign("a")) == 401


def test_the_previous_secret_verifies_until_it_is_removed(
    verify: Verify, caplog: pytest.LogCaptureFixture
) -> None:
    old = secrets.token_hex(32)
    verifier = verify(JWT_SECRET=SECRET, JWT_SECRET_PREVIOUS=old)
    assert "JWT_SECRET_PREVIOUS" in caplog.text
    assert old not in caplog.text
    assert verifier.answers([shared(sub="new"), shared(secret=old, sub="old")]) == ["new", "old"]
    assert verifier.answer(shared(secret=old[1:] + "x")) == 401
    assert verifier.answer(shared(secret=old, exp=1)) == 401
    assert verify(JWT_SECRET_PREVIOUS="").answers([shared(sub="new"), shared(secret=old)]) == ["new", 401]


def test_the_previous_secret_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_SECRET_PREVIOUS", "x" * 64)
    assert jwt.decode(make_token("alice", load(TokenSettings)), SECRET, ["HS256"])["sub"] == "alice"
    monkeypatch.setenv("JWT_SECRET", "")
    assert refused().startswith("JWT_SECRET: is missing")


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_previous_secret_is_as_long_as_a_secret(
    algorithm: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_ALGORITHMS", algorithm)
    monkeypatch.setenv("JWT_SECRET_PREVIOUS", "x" * (size - 1))
    assert refused().startswith(f"JWT_SECRET_PREVIOUS: is shorter than {size} bytes")


# The issuer's keys


@pytest.mark.parametrize("algorithm", DEFAULT)
def test_an_issuers_keys_are_accepted(algorithm: str, verify: Verify, issuer: Issuer) -> None:
    issuer.add("a", algorithm)
    verifier = verify(JWT_JWKS_URL=issuer.url, JWT_ISSUER=issuer.url, JWT_AUDIENCE=ME)
    assert verifier.user(issuer.sign("a")) == "alice"
    assert verifier.answer(shared()) == 401


@pytest.mark.parametrize("algorithm", BY_SETTING)
def test_other_algorithms_are_accepted_only_if_the_setting_lists_them(
    algorithm: str, verify: Verify, issuer: Issuer
) -> None:
    issuer.add("a", algorithm)
    assert verify(JWT_JWKS_URL=issuer.url).answer(issuer.sign("a")) == 401
    assert verify(JWT_JWKS_URL=issuer.url, JWT_ALGORITHMS=algorithm).user(issuer.sign("a")) == "alice"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_an_rsa_key_that_names_no_algorithm_verifies_both_paddings(
    algorithm: str, verify: Verify, issuer: Issuer
) -> None:
    private = new_key(algorithm)
    issuer.keys["a"] = (algorithm, private)
    issuer.published = [as_jwk(private.public_key(), algorithm, kid="a")]
    assert verify(JWT_JWKS_URL=issuer.url).user(issuer.sign("a")) == "alice"


def under(name: str, issuer: Issuer, kid: str) -> str:
    """Return a token with this name of the algorithm, signed by an Ed25519 key."""
    text = ".".join(
        jwt.utils.base64url_encode(json.dumps(part).encode()).decode()
        for part in ({"alg": name, "kid": kid, "typ": "JWT"}, usual(issuer.url))
    )
    return f"{text}.{jwt.utils.base64url_encode(issuer.keys[kid][1].sign(text.encode())).decode()}"


@pytest.mark.parametrize("named", [{}, {"JWT_ALGORITHMS": "EdDSA"}, {"JWT_ALGORITHMS": "Ed25519"}])
@pytest.mark.parametrize("published", ["EdDSA", "Ed25519", None])
def test_an_ed25519_key_verifies_with_both_names_of_the_algorithm(
    published: str | None, named: dict[str, str], verify: Verify, issuer: Issuer
) -> None:
    issuer.add("a", alg=published)
    verifier = verify(JWT_JWKS_URL=issuer.url, **named)
    assert verifier.answers([under(name, issuer, "a") for name in ("EdDSA", "Ed25519")]) == ["alice"] * 2
    assert verifier.answers([under(name, issuer, "a") for name in ("Ed448", "ed25519", "ES256")]) == [401] * 3


def test_the_names_of_ed25519_select_no_other_kind_of_key(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("ec", "ES256").add("rsa", "RS256").url, JWT_SECRET=SECRET)
    other = new_key("EdDSA")
    for kid in ("ec", "rsa"):
        issuer.keys[kid] = ("EdDSA", other)
        for name in ("EdDSA", "Ed25519"):
            assert verifier.answer(under(name, issuer, kid)) == 401
    text = issuer.add("ed").sign("ed").rpartition(".")[0]
    public = issuer.keys["ed"][1].public_key().public_bytes_raw()
    forged = jwt.utils.base64url_encode(hmac.digest(public, text.encode(), "sha256")).decode()
    assert verifier.answer(f"{text}.{forged}") == 401


def test_a_token_without_kid_is_verified_by_the_only_matching_key(verify: Verify, issuer: Issuer) -> None:
    issuer.add("a").add("b", "ES256")
    verifier = verify(JWT_JWKS_URL=issuer.url)
    assert verifier.user(jwt.encode(usual("x"), issuer.keys["a"][1], "EdDSA")) == "alice"


def test_all_keys_with_the_same_kid_are_tried(verify: Verify, issuer: Issuer) -> None:
    old = issuer.add("a").sign("a")
    verifier = verify(JWT_JWKS_URL=issuer.url)
    issuer.add("a")
    assert verifier.user(old) == "alice"
    verifier.run(verifier.tokens.keys.fetch())
    assert verifier.answers([old, issuer.sign("a")]) == ["alice", "alice"]


def small(issuer: Issuer) -> dict[str, object]:
    private = new_key("RS256", bits=1024)
    issuer.keys["bad"] = ("RS256", private)
    return as_jwk(private.public_key(), "RS256", kid="bad")


def changed(algorithm: str = "EdDSA", **members: object) -> Callable[[Issuer], dict[str, object]]:
    def make(issuer: Issuer) -> dict[str, object]:
        private = new_key(algorithm)
        issuer.keys["bad"] = (algorithm, private)
        return as_jwk(private.public_key(), algorithm, kid="bad") | members

    return make


def private_half(issuer: Issuer) -> dict[str, object]:
    issuer.keys["bad"] = ("EdDSA", new_key("EdDSA"))
    return as_jwk(issuer.keys["bad"][1], "EdDSA", kid="bad")


def symmetric(issuer: Issuer) -> dict[str, object]:
    issuer.keys["bad"] = ("HS256", SECRET)
    return as_jwk(SECRET, "HS256", kid="bad")


UNUSABLE: dict[str, Callable[[Issuer], object]] = {
    "RSA under 2048 bits": small,
    "for encryption": changed(use="enc"),
    "for signing only": changed(key_ops=["sign"]),
    "of another algorithm": changed("ES256", alg="ES384"),
    "of no algorithm": changed("RS256", alg="none"),
    "of an HMAC's algorithm": changed("RS256", alg="HS256"),
    "of an unknown kind": changed(kty="XYZ"),
    "of a kind that is a list": changed(kty=["OKP"]),
    "of a curve not allowed": changed(crv="secp256k1"),
    "named by a list": changed(kid=["bad"]),
    "named by an object": changed(kid={"bad": 1}),
    "named by a number": changed(kid=1),
    "off the curve": changed("ES256", y="AAAA"),
    "private": private_half,
    "symmetric": symmetric,
    "cut short": changed(x="AAAA"),
    "not text": changed(x=1),
    "empty": lambda issuer: changed()(issuer) and {},
    "null": lambda issuer: changed()(issuer) and None,
    "a string": lambda issuer: changed()(issuer) and "key",
    "a list": lambda issuer: changed()(issuer) and ["d"],
}


@pytest.mark.filterwarnings("ignore:The RSA key is 1024")  # PyJWT warns when it signs
@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_key_is_skipped_and_the_others_work(kind: str, verify: Verify, issuer: Issuer) -> None:
    bad = UNUSABLE[kind](issuer)
    issuer.published = [bad]
    issuer.add("good").published.append(bad)
    verifier = verify(JWT_JWKS_URL=issuer.url)
    assert verifier.user(issuer.sign("good")) == "alice"
    assert verifier.answer(issuer.sign("bad")) == 401


def test_keys_that_are_not_used_are_logged_once_with_the_reason(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.add("good").add("for encryption", "RS256", use="enc").add("other", "ES384").add(
        "of no kind", kty="XYZ"
    )
    issuer.add("evil\nline", "ES256", alg="none")
    issuer.published += [None, as_jwk(new_key("EdDSA"), "EdDSA", kid="private")]
    verifier = verify(JWT_JWKS_URL=issuer.url, JWT_ISSUER=issuer.url, JWT_AUDIENCE=ME)
    verifier.run(verifier.tokens.keys.fetch())
    prefix = "JWT_JWKS_URL: the key "
    assert [r.getMessage().removeprefix(prefix) for r in caplog.records] == [
        "'for encryption' is not used: it is not for signatures",
        "'other' is not used: JWT_ALGORITHMS does not include ES384",
        "'of no kind' is not used: its kind or curve is not supported",
        "'evil\\nline' is not used: its alg does not match its kind",
        "without a kid is not used: it is malformed",
        "'private' is not used: it is a private key, which must not be published: replace it",
    ]
    issuer.add("late", "PS384")
    verifier.run(verifier.tokens.keys.fetch())
    assert [r.getMessage() for r in caplog.records[6:]] == [
        f"{prefix}'late' is not used: JWT_ALGORITHMS does not include PS384"
    ]


def test_the_secret_and_an_issuer_work_side_by_side(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_SECRET=SECRET, JWT_JWKS_URL=issuer.add("a").url)
    assert verifier.answers([shared(sub="old"), issuer.sign("a", sub="new")]) == ["old", "new"]


def test_accepting_any_token_of_an_issuer_is_a_warning(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    verify(JWT_JWKS_URL=issuer.add("a").url)
    assert "JWT_ISSUER and JWT_AUDIENCE" in caplog.text
    caplog.clear()
    verify(JWT_ISSUER=issuer.url)
    assert "JWT_AUDIENCE" in caplog.text
    assert "JWT_ISSUER" not in caplog.text
    caplog.clear()
    verify(JWT_AUDIENCE=ME)
    assert not caplog.text


# Claims


def test_one_of_several_issuers_and_audiences_is_enough(verify: Verify) -> None:
    verifier = verify(JWT_SECRET=SECRET, JWT_ISSUER="x, y", JWT_AUDIENCE="a, b")
    assert verifier.user(shared(iss="y", aud=["c", "b"])) == "alice"
    assert verifier.answer(shared(iss="z", aud="b")) == 401
    assert verifier.answer(shared(iss="y", aud="c")) == 401


def test_issuer_and_audience_are_ignored_if_none_is_set(verify: Verify) -> None:
    assert verify(JWT_SECRET=SECRET).user(shared(iss="z", aud=["c"])) == "alice"


@pytest.mark.parametrize(
    ("claim", "seconds", "answer"),
    [("exp", -8, "alice"), ("exp", -12, 401)]
    + [(claim, *rest) for claim in ("nbf", "iat") for rest in ((8, "alice"), (12, 401))],
)
def test_clocks_may_differ_by_ten_seconds(
    claim: str, seconds: int, answer: str | int, verify: Verify
) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    claims: dict[str, Any] = {claim: int(time.time()) + seconds}
    assert verifier.answer(shared(**claims)) == answer


@pytest.mark.parametrize(
    ("leeway", "claim", "seconds", "answer"),
    [
        ("0", "exp", -1, 401),
        ("0", "nbf", 30, 401),
        ("0", "iat", 0, "alice"),
        ("60", "exp", -30, "alice"),
        ("60", "exp", -61, 401),
        ("60", "nbf", 60, "alice"),
        ("60", "iat", 90, 401),
        ("300", "exp", -270, "alice"),
        ("300", "iat", 300, "alice"),
    ],
)
def test_the_leeway_is_a_setting(
    leeway: str, claim: str, seconds: int, answer: str | int, verify: Verify
) -> None:
    claims: dict[str, Any] = {claim: int(time.time()) + seconds}
    assert verify(JWT_SECRET=SECRET, JWT_LEEWAY=leeway).answer(shared(**claims)) == answer


def test_the_user_is_the_claim_that_the_setting_names(verify: Verify) -> None:
    verifier = verify(JWT_SECRET=SECRET, JWT_USER_CLAIM="uid")
    assert verifier.user(shared(uid=42)) == "42"
    assert verifier.user(shared(uid="u-1")) == "u-1"
    assert verifier.answer(shared()) == 401


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": 1}, "expired"),
        ({"nbf": 2**40}, "not valid yet"),
        ({"iss": "z"}, "issued by someone else"),
        ({"aud": "z"}, "for another service"),
        ({"exp": None}, "lacks a required claim"),
        ({"sub": None}, "has no valid user id in its claim sub"),
    ],
)
def test_the_refusal_of_a_token_with_a_valid_signature_gives_the_reason(
    claims: dict[str, Any], says: str, verify: Verify
) -> None:
    verifier = verify(JWT_SECRET=SECRET, JWT_ISSUER="us", JWT_AUDIENCE=ME)
    assert says in verifier.detail(shared(**claims))
    assert verifier.detail(shared(**claims, secret="x" * 64)) == tokens.INVALID


def refusal_of(verifier: Verifier, token: str) -> Refused:
    """Return the exception that refuses the token."""
    with pytest.raises(Refused) as refused:
        verifier.user(token)
    return refused.value


def forged(header: dict[str, object], token: str) -> str:
    return f"{jwt.utils.base64url_encode(json.dumps(header).encode()).decode()}.{token.partition('.')[2]}"


REFUSED: dict[str, Callable[[Issuer], str]] = {
    "form": lambda _: "nonsense",
    "form ": lambda _: "x" * 9000,
    "form  ": lambda _: shared(exp="soon"),
    "form   ": lambda issuer: forged({"kid": "a"}, issuer.sign("a")),
    "form    ": lambda issuer: forged({"alg": "EdDSA", "kid": 7}, issuer.sign("a")),
    "form     ": lambda issuer: issuer.sign("a", {"crit": ["x"], "x": 1}),
    "algorithm": lambda _: shared("HS512"),
    "algorithm ": lambda issuer: forged({"alg": "none"}, issuer.sign("a")),
    "algorithm  ": lambda issuer: forged({"alg": "ES384", "kid": "a"}, issuer.sign("a")),
    "key": lambda issuer: issuer.sign("a", {"kid": "made up"}),
    "key ": lambda issuer: forged({"alg": "RS256", "kid": "a"}, issuer.sign("a")),
    "signature": lambda _: shared(secret="x" * 64),
    "signature ": lambda issuer: issuer.sign("a")[:-8] + "AAAAAAAA",
    "type": lambda issuer: issuer.sign("a", {"typ": "logout+jwt"}),
    "expired": lambda issuer: issuer.sign("a", exp=1),
    "not valid yet": lambda issuer: issuer.sign("a", nbf=2**40),
    "not valid yet ": lambda issuer: issuer.sign("a", iat=2**40),
    "issuer": lambda issuer: issuer.sign("a", iss="z"),
    "issuer ": lambda issuer: issuer.sign("a", iss=None),
    "audience": lambda issuer: issuer.sign("a", aud=["z"]),
    "audience ": lambda issuer: issuer.sign("a", aud=None),
    "claim": lambda issuer: issuer.sign("a", exp=None),
    "claim ": lambda issuer: issuer.sign("a", sub=None),
    "claim  ": lambda issuer: issuer.sign("a", sub=["alice"]),
    "claim   ": lambda issuer: issuer.sign("a", sub="x" * 256),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_every_refusal_has_a_reason(reason: str, verify: Verify, issuer: Issuer) -> None:
    url = issuer.add("a").url
    verifier = verify(JWT_SECRET=SECRET, JWT_JWKS_URL=url, JWT_ISSUER=url, JWT_AUDIENCE=ME)
    refusal = refusal_of(verifier, REFUSED[reason](issuer))
    assert (refusal.status, refusal.reason) == (401, reason.strip())
    assert refusal.reason in Reason


# Rotation


@pytest.mark.usefixtures("soon")
def test_a_new_key_is_accepted_with_its_first_token(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "REFRESH_INTERVAL", 600)
    verifier = verify(JWT_JWKS_URL=issuer.add("old").url)
    assert verifier.user(issuer.sign("old")) == "alice"
    issuer.add("new")
    assert verifier.user(issuer.sign("new")) == "alice"
    assert verifier.user(issuer.sign("old")) == "alice"
    assert issuer.fetches == 2


@pytest.mark.usefixtures("soon")
def test_a_withdrawn_key_is_refused_after_the_refresh_even_for_cached_tokens(
    verify: Verify, issuer: Issuer
) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("old").add("new").url)
    token = issuer.sign("old")
    assert verifier.user(token) == "alice"
    issuer.withdraw("old")
    assert verifier.user(token) == "alice"
    verifier.until(lambda: verifier.answer(token) == 401)
    assert verifier.user(issuer.sign("new")) == "alice"


@pytest.mark.usefixtures("soon")
def test_an_issuer_can_withdraw_all_its_keys(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    issuer.withdraw("a")
    verifier.until(lambda: verifier.answer(issuer.sign("a")) == 401)


def test_a_key_can_be_replaced_with_the_same_kid(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    old = issuer.sign("a")
    issuer.withdraw("a")
    new = issuer.add("a").sign("a")
    assert verifier.answers([old, new]) == ["alice", 401]
    verifier.run(verifier.tokens.keys.fetch())
    assert verifier.answers([old, new]) == [401, "alice"]


# Outage


@pytest.mark.usefixtures("soon")
def test_the_old_keys_work_while_the_issuer_is_down(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    issuer.break_down()
    verifier.until(lambda: issuer.fetches > 2)
    assert "could not be fetched" in caplog.text
    assert verifier.user(issuer.sign("a")) == "alice"
    assert verifier.answer(issuer.add("b").sign("b")) == 503
    issuer.recover()
    verifier.until(lambda: verifier.answer(issuer.sign("b")) == "alice")


@pytest.mark.usefixtures("soon")
def test_until_keys_have_been_fetched_the_response_is_503_with_retry_after(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "REFRESH_INTERVAL", 60)
    issuer.add("a").break_down()
    verifier = verify(JWT_JWKS_URL=issuer.url, JWT_SECRET=SECRET)
    with pytest.raises(Problem) as problem:
        verifier.user(issuer.sign("a"))
    assert (problem.value.status, list(problem.value.headers)) == (503, ["Retry-After"])
    assert verifier.user(shared()) == "alice"
    assert verifier.answer(shared(secret="x" * 64)) == 401
    assert verifier.answer("nonsense") == 401
    issuer.recover()
    verifier.until(lambda: verifier.answer(issuer.sign("a")) == "alice")


def test_an_unreachable_issuer_causes_503(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=f"http://127.0.0.1:{free_port()}/jwks")
    assert verifier.answer(issuer.add("a").sign("a")) == 503


# Floods


def test_a_flood_of_unknown_keys_causes_one_fetch(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    flood = [issuer.sign("a", {"kid": f"unknown-{n}"}) for n in range(200)]
    assert set(verifier.answers(flood)) == {401}
    for token in flood[:20]:
        assert verifier.answer(token) == 401
    assert issuer.fetches == 2


@pytest.mark.usefixtures("soon")
def test_a_flood_causes_few_fetches_from_an_issuer_that_is_down(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "RETRY_INTERVAL", 60)
    monkeypatch.setattr(keys, "MIN_FETCH_INTERVAL", 60)
    issuer.add("a").break_down()
    verifier = verify(JWT_JWKS_URL=issuer.url)
    for _ in range(20):
        assert set(verifier.answers([issuer.sign("a")] * 5)) == {503}
    assert issuer.fetches == 2


@pytest.mark.usefixtures("soon")
def test_a_flood_delays_a_new_key_only_for_the_interval(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    assert verifier.answer(issuer.sign("a", {"kid": "unknown"})) == 401
    issuer.add("b")
    verifier.until(lambda: verifier.answer(issuer.sign("b")) == "alice")


def test_requests_that_wait_for_a_key_share_the_fetch(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    issuer.add("b")
    assert set(verifier.answers([issuer.sign("b", sub=n) for n in range(50)])) == {str(n) for n in range(50)}
    assert issuer.fetches == 2


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none", "XY", "ES384"])
def test_a_token_with_an_unsupported_algorithm_causes_no_fetch(
    algorithm: str, verify: Verify, issuer: Issuer
) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    header = {"alg": algorithm, "kid": "unknown"}
    token = jwt.encode(usual("x"), SECRET, "HS256", {"kid": "unknown"}).split(".")
    token[0] = jwt.utils.base64url_encode(json.dumps(header).encode()).decode()
    assert verifier.answer(".".join(token)) == 401
    assert issuer.fetches == 1


def test_a_new_key_during_the_pause_between_fetches_gets_503_not_401(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    assert verifier.answer(issuer.sign("a", {"kid": "made up"})) == 401  # starts the pause
    token = issuer.add("b").sign("b")
    refusal = refusal_of(verifier, token)
    assert (refusal.status, refusal.reason) == (503, "key unknown yet")
    assert 500 < int(refusal.headers["Retry-After"]) <= keys.MIN_FETCH_INTERVAL
    assert issuer.fetches == 2
    monkeypatch.setattr(keys, "MIN_FETCH_INTERVAL", 0)
    assert verifier.user(token) == "alice"


def test_a_token_gets_401_after_a_later_fetch_without_its_key(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    first, second = (issuer.sign("a", {"kid": "made up"}, n=n) for n in (1, 2))
    assert verifier.answers([first, first, second, second]) == [401] * 4
    third = issuer.sign("a", {"kid": "made up"}, n=3)
    # A key with this id may have been published since the last fetch, so another token gets 503.
    assert verifier.answers([first, second, third, third]) == [401, 401, 503, 503]
    verifier.run(verifier.tokens.keys.fetch())
    assert verifier.answer(third) == 401
    issuer.break_down()
    monkeypatch.setattr(keys, "MIN_FETCH_INTERVAL", 0)
    assert verifier.answers([first, issuer.sign("a", {"kid": "made up"}, n=4)]) == [401, 503]


def test_a_fetch_that_began_before_a_token_arrived_does_not_cause_401(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    asked = threading.Event()
    go_on = threading.Event()

    def stale(handler: Handler) -> None:
        body = json.dumps({"keys": issuer.published}).encode()
        asked.set()
        go_on.wait(60)
        handler.answer(body)

    issuer.behave = stale

    async def ask() -> list[str | int]:
        first = asyncio.create_task(verifier.answered(issuer.sign("a", {"kid": "made up"})))
        await asyncio.to_thread(asked.wait, 60)
        token = issuer.add("b").sign("b")
        second = asyncio.create_task(verifier.answered(token))
        await asyncio.sleep(0)
        go_on.set()
        return list(await asyncio.gather(first, second))

    assert verifier.run(ask()) == [401, 503]


def test_a_withdrawn_key_causes_401_immediately(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").add("b").url)
    issuer.withdraw("a")
    assert verifier.answer(issuer.sign("b", {"kid": "made up"})) == 401
    assert verifier.answer(issuer.sign("a")) == 401


def test_the_number_of_remembered_unknown_keys_is_bounded(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_WAITING", 3)
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    for n in range(10):
        verifier.answer(issuer.sign("a", {"kid": f"made up {n}"}))
    assert len(verifier.tokens.keys.waiting) == 3
    assert issuer.fetches == 2


def test_a_token_without_kid_causes_no_fetch_if_several_keys_match(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").add("b").url)
    assert verifier.answer(jwt.encode(usual("x"), issuer.keys["a"][1], "EdDSA")) == 401
    assert issuer.fetches == 1


# Slow and lying servers


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.issuer.over.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.issuer.over.wait(0.05):
        handler.wfile.write(b"X: y\r\n")
        handler.wfile.flush()


def silent(handler: Handler) -> None:
    handler.issuer.over.wait()


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.issuer.over.is_set():
        handler.wfile.write(b" " * 65536)


def elsewhere(handler: Handler) -> None:
    handler.answer(b"", 302, Location=handler.issuer.url + "?moved")


def answering(body: bytes, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(body, status, **headers)


def raw(data: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.wfile.write(data)

    return answer


LIES: dict[str, Callable[[Handler], None]] = {
    "silent": silent,
    "one byte at a time": drip,
    "one header at a time": drip_headers,
    "endless": endless,
    "a redirect": elsewhere,
    "an error": answering(b'{"keys": []}', 500),
    "not found": answering(b'{"keys": []}', 404),
    "nothing": answering(b""),
    "HTML": answering(b"<html>Sign in</html>"),
    "another object": answering(b'{"error": "maintenance"}'),
    "a list": answering(b"[]"),
    "keys that are no list": answering(b'{"keys": {"a": 1}}'),
    "null": answering(b"null"),
    "no UTF-8": answering(b'{"keys": ["\xff"]}'),
    "brackets without end": answering(b"[" * 100_000),
    "a number without end": answering(b'{"keys": ' + b"9" * 100_000 + b"}"),
    "256 KiB and one byte": answering(b'{"keys": []}' + b" " * (fetch.MAX_BYTES - 11)),
    "less than it promised": answering(b'{"keys": []}', Content_Length="100000"),
    "a length that is none": answering(b'{"keys": []}', Content_Length="much"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "a header without end": raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000),
    "compressed": answering(b"\x1f\x8b\x08" + bytes(20), Content_Encoding="gzip"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.usefixtures("soon")
def test_a_slow_or_invalid_response_changes_no_keys(
    lie: str, verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "REFRESH_INTERVAL", 600)
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    issuer.behave = LIES[lie]
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT", 0.4)
    assert verifier.answer(issuer.sign("a", {"kid": "unknown"})) == 503
    assert "/jwks?moved" not in issuer.asked
    assert verifier.user(issuer.sign("a")) == "alice"
    assert not verifier.tokens.keys.current


def test_an_ipv6_address_and_an_encoded_path_are_requested_unchanged() -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def ask() -> None:
        try:
            listening = await asyncio.start_server(answer, "::1", 0)
        except OSError:
            pytest.skip("this machine has no IPv6")
        async with listening as server:
            port = server.sockets[0].getsockname()[1]
            assert await fetch.get(f"HTTP://[::1]:{port}/a%2Fb?x=%20") == b"{}"
            start, host, *_ = heads[0].decode().split("\r\n")
            assert (start, host) == ("GET /a%2Fb?x=%20 HTTP/1.1", f"Host: [::1]:{port}")

    asyncio.run(ask())


def test_only_the_first_hundred_keys_are_used(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.published = [as_jwk(new_key("EdDSA").public_key(), "EdDSA", kid="x") for _ in range(101)]
    issuer.add("late")
    verifier = verify(JWT_JWKS_URL=issuer.url)
    assert "only the first 100 of 102 keys are used" in caplog.text
    assert len(verifier.tokens.keys.published or ()) == 200  # EdDSA and Ed25519 for each key
    assert verifier.answer(issuer.sign("late")) == 401


@pytest.mark.usefixtures("soon")
def test_a_fetch_never_blocks_tokens_of_known_keys(verify: Verify, issuer: Issuer) -> None:
    verifier = verify(JWT_JWKS_URL=issuer.add("a").url)
    issuer.behave = silent

    async def beside() -> None:
        waiting = asyncio.create_task(verifier.answered(issuer.sign("a", {"kid": "unknown"})))
        while issuer.fetches < 2:  # noqa: ASYNC110 - changed by another thread
            await asyncio.sleep(0.01)
        for n in range(20):
            assert await verifier.tokens.user(issuer.sign("a", sub=n)) == str(n)
        assert not waiting.done()
        issuer.over.set()
        assert await waiting == 503

    verifier.run(beside())


def test_https_requires_a_trusted_certificate_for_the_host(
    verify: Verify, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    issuer.server.socket = context.wrap_socket(issuer.server.socket, server_side=True)
    token, url = issuer.add("a").sign("a"), issuer.url.replace("http:", "https:")
    named = url.replace("127.0.0.1", "localhost")

    fetch.tls_context.cache_clear()
    assert verify(JWT_JWKS_URL=named).answer(token) == 503
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    fetch.tls_context.cache_clear()
    assert verify(JWT_JWKS_URL=named).user(token) == "alice"
    assert verify(JWT_JWKS_URL=url).answer(token) == 503
    fetch.tls_context.cache_clear()


class Proxy:
    """An HTTP proxy on loopback that connects every tunnel to one port, and may require a password."""

    def __init__(self, port: int, credentials: str = "") -> None:
        self.port, self.asked = port, list[str]()
        self.authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.partition(" HTTP/")[0])
        if f"Proxy-Authorization: {self.authorization}" not in head and self.authorization:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(self.pass_on(reader, back), self.pass_on(there, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
def tls(issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Issuer]:
    """The issuer with TLS and a certificate for issuer.example, which cannot be resolved."""
    file = certificate(tmp_path, "issuer.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    issuer.server.socket = context.wrap_socket(issuer.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    fetch.tls_context.cache_clear()
    yield issuer
    fetch.tls_context.cache_clear()


KEY_SET = "https://issuer.example/jwks"
ISSUER_TUNNEL = "CONNECT issuer.example:443"


def fetched(proxy: Proxy, url: str = KEY_SET) -> bytes | str:
    """Fetch while the proxy runs; return the body or the error. PORT in variables becomes the proxy's."""

    async def ask() -> bytes | str:
        async with await asyncio.start_server(proxy.tunnel, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            for name, value in os.environ.items():
                if name.lower().endswith("_proxy"):
                    os.environ[name] = value.replace("PORT", str(port))
            try:
                return await fetch.get(url)
            except fetch.UNREACHABLE as error:
                return f"{type(error).__name__} {error}"

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("form", ["http://127.0.0.1:PORT", "http://127.0.0.1:PORT/", "127.0.0.1:PORT"])
def test_keys_are_fetched_through_the_proxy_of_the_environment(
    name: str, form: str, tls: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, form)
    proxy = Proxy(tls.server.server_port)
    assert json.loads(fetched(proxy)) == {"keys": []}
    assert proxy.asked == [ISSUER_TUNNEL]


def test_the_password_of_a_proxy_is_sent_to_it_and_never_logged(
    tls: Issuer, monkeypatch: pytest.MonkeyPatch, verify: Verify, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy(tls.server.server_port, "me:hush@hush")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush%40hush@127.0.0.1:PORT")
    assert json.loads(fetched(proxy)) == {"keys": []}
    for wrong in ("http://me:wrong@127.0.0.1:PORT", "http://127.0.0.1:PORT"):
        monkeypatch.setenv("HTTPS_PROXY", wrong)
        assert fetched(proxy) == "ProxyError 407 Proxy Authentication Required"
    for wrong in ("http://me:hush#hush@127.0.0.1:1", "socks5://me:hush@127.0.0.1:1", "http://"):
        monkeypatch.setenv("HTTPS_PROXY", wrong)
        verify(JWT_JWKS_URL=KEY_SET)
        assert "through the proxy of HTTPS_PROXY: ValueError HTTPS_PROXY is not" in caplog.text
        assert "hush" not in caplog.text
        caplog.clear()


@pytest.mark.parametrize("excepted", ["issuer.example", ".example", "other,issuer.example:443", "*"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_excludes_hosts(name: str, excepted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert fetch.proxy_for(urlsplit(KEY_SET)) == "http://127.0.0.1:1"
    monkeypatch.setenv(name, excepted)
    assert fetch.proxy_for(urlsplit(KEY_SET)) is None
    assert fetch.proxy_for(urlsplit("https://else.test/jwks")) == (
        None if excepted == "*" else "http://127.0.0.1:1"
    )


def test_keys_over_http_are_fetched_without_a_proxy(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:PORT")
    proxy = Proxy(issuer.server.server_port)
    assert fetched(proxy, issuer.url) == b'{"keys": []}'
    assert not proxy.asked


def test_keys_are_requested_uncompressed_and_a_compressed_response_is_an_error(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def always(handler: Handler) -> None:
        asked.append(handler.headers["Accept-Encoding"])
        handler.answer(gzip.compress(b'{"keys": []}'), Content_Encoding="gzip")

    issuer.behave = always
    verify(JWT_JWKS_URL=issuer.url)
    assert asked == ["identity"]
    assert "it is compressed (gzip), although identity was requested" in caplog.text


def test_the_error_for_issuer_metadata_names_the_jwks_uri(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.behave = answering(b'{"issuer": "x", "jwks_uri": "https://issuer.example/jwks"}')
    verify(JWT_JWKS_URL=issuer.url)
    assert "set JWT_JWKS_URL to the jwks_uri in it" in caplog.text


def test_chunked_and_long_key_sets_are_read(verify: Verify, issuer: Issuer) -> None:
    body = json.dumps({"keys": issuer.add("a").published}).encode().ljust(200_000)

    def chunked(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 50_000):
            handler.wfile.write(b"c350\r\n" + body[at : at + 50_000] + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    issuer.behave = chunked
    assert verify(JWT_JWKS_URL=issuer.url).user(issuer.sign("a")) == "alice"


def test_the_address_is_requested_as_it_was_set(verify: Verify, issuer: Issuer) -> None:
    verify(JWT_JWKS_URL=issuer.url + "/a%20b?version=1&x=%2F")
    assert issuer.asked == ["/jwks/a%20b?version=1&x=%2F"]


# The cache of verified tokens


def test_a_cached_token_expires(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    token = shared(exp=int(time.time()) - 2)
    assert verifier.user(token) == "alice"
    late = time.time() + 8.5
    monkeypatch.setattr(time, "time", lambda: late)
    monkeypatch.setattr(verifier.tokens, "claims", None)  # so the cache must not be used
    with pytest.raises(TypeError):
        verifier.user(token)


def test_a_cached_token_is_not_verified_again_and_tokens_are_stored_hashed(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    token = shared()
    assert verifier.user(token) == "alice"
    monkeypatch.setattr(verifier.tokens, "claims", None)
    assert verifier.user(token) == "alice"
    assert token not in repr(verifier.tokens.keys.verified)


def test_the_cache_of_tokens_is_bounded(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    verifier = verify(JWT_SECRET=SECRET)
    assert verifier.answers([shared(sub=n) for n in range(10)]) == [str(n) for n in range(10)]
    assert [user for user, _ in verifier.tokens.keys.verified.values()] == ["7", "8", "9"]


def test_refusals_are_not_cached(verify: Verify) -> None:
    verifier = verify(JWT_SECRET=SECRET)
    assert verifier.answers([shared(secret="x" * 64), shared(exp=1), "nonsense"]) == [401] * 3
    assert not verifier.tokens.keys.verified


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "RS256", "ES256", "PS256"])
def test_a_verification_is_fast_and_a_cached_one_much_faster(
    algorithm: str, verify: Verify, issuer: Issuer
) -> None:
    """Measured: 0.2 and 0.002 ms; the requirement is 50."""
    published = "RS256" if algorithm == "HS256" else algorithm
    verifier = verify(JWT_SECRET=SECRET, JWT_JWKS_URL=issuer.add("a", published).url)
    token = shared() if algorithm == "HS256" else issuer.sign("a")

    async def cheapest(*, forget: bool) -> float:
        best = 1.0
        for _ in range(300):
            if forget:
                verifier.tokens.keys.verified.clear()
            start = time.process_time()
            await verifier.tokens.user(token)
            best = min(best, time.process_time() - start)
        return best

    verified, remembered = (verifier.run(cheapest(forget=forget)) for forget in (True, False))
    assert remembered < verified / 3
    assert verified < 0.05


# Over HTTP


def test_a_running_api_accepts_both_kinds_and_a_rotation(
    server: Server, database: str, issuer: Issuer
) -> None:
    issuer.add("old")
    conninfo = server.conninfo(database, "tasks_api")
    with (
        serving(conninfo, JWT_JWKS_URL=issuer.url, JWT_AUDIENCE=ME) as api,
        httpx.Client(base_url=api.url, timeout=60) as client,
    ):

        def ask(token: str) -> httpx.Response:
            return client.get("/api/alice/tasks", headers={"Authorization": f"Bearer {token}"})

        assert "JWT_ISSUER" in api.log.read_text()
        assert ask(issuer.sign("old")).status_code == 200
        assert ask(api.token("alice", aud=ME)).status_code == 200
        new = issuer.add("new").sign("new")
        issuer.withdraw("old")
        assert ask(new).status_code == 200
        answer = ask(issuer.sign("old"))
        assert answer.status_code == 401
        assert (
            answer.headers["www-authenticate"]
            == f'Bearer error="invalid_token", error_description="{tokens.INVALID}"'
        )
        assert ask(issuer.sign("new", sub="bob")).status_code == 403


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_the_reason_of_a_refusal_is_logged_and_counted(
    log_format: str, server: Server, database: str
) -> None:
    conninfo = server.conninfo(database, "tasks_api")
    settings = {"METRICS": "true", "LOG_FORMAT": log_format, "JWT_AUDIENCE": ME, "LOG_USERS": "id"}
    with serving(conninfo, **settings) as api, httpx.Client(base_url=api.url, timeout=60) as client:
        expected = {
            "expired": api.token("mallory", aud=ME, exp=1),
            "audience": api.token("mallory", aud="z"),
            "signature": shared(aud=ME),
            "form": "nonsense",
            "missing": "",
        }
        for token in expected.values():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert client.get("/api/mallory/tasks", headers=headers).status_code == 401
        assert (
            client.get(
                "/api/mallory/tasks", headers={"Authorization": f"Bearer {api.token('alice', aud=ME)}"}
            ).status_code
            == 403
        )
        text, log = client.get("/metrics").text, api.log_up_to(" 403" if log_format == "plain" else ": 403,")
        for counted in Reason:
            assert f'tasks_tokens_refused_total{{reason="{counted}"}} {float(counted in expected)}' in text
    form = (
        '"status": 401, .* "user": null, "refused": "%s"}'
        if log_format == "json"
        else " 401 .*, user null, token refused: %s"
    )
    for reason in expected:
        assert len(re.findall(form % reason, log)) == 1
    assert "mallory" not in log
    assert not any(token and token in log for token in expected.values())


def test_an_api_that_never_reached_the_issuer_responds_with_503(
    server: Server, database: str, issuer: Issuer, configure: Callable[..., None]
) -> None:
    url = f"http://127.0.0.1:{free_port()}/jwks"
    configure(DATABASE_URL=server.conninfo(database, "tasks_api"), JWT_JWKS_URL=url)
    token = issuer.add("a").sign("a")

    async def ask() -> None:
        async with served() as client:
            answer = await client.get("/api/alice/tasks", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == str(keys.MIN_FETCH_INTERVAL)
            assert answer.headers["content-type"] == "application/problem+json"
            assert "127.0.0.1" not in answer.text
            assert (await client.get("/api/alice/tasks")).status_code == 401
            assert (await client.get("/health")).status_code == 200

    asyncio.run(ask())


def test_an_issuer_suffices_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "dbname=x")
    monkeypatch.setenv("JWT_JWKS_URL", "https://issuer.example/jwks")
    assert load(Settings).jwt_secret is None
    assert logging.getLogger("uvicorn.error") is keys.log
