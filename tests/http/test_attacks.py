"""A token for each applicable attack of RFC 8725. The response must be 401, without details of the cause."""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from support.issuers import ME, Issuer, Verifier, as_jwk, issuing, usual, verifying

from app.identity import keys
from app.identity.tokens import INVALID

NOW = int(time.time())


class World:
    """An API that accepts an issuer's keys and a shared secret, and an attacker who knows all public keys."""

    def __init__(self, issuer: Issuer, attacker: Issuer, secret: str, verifier: Verifier) -> None:
        self.issuer, self.attacker, self.secret, self.verifier = issuer, attacker, secret, verifier

    def claims(self, **claims: object) -> dict[str, Any]:
        return usual(self.issuer.url) | claims

    def signed(self, header: dict[str, Any] | None = None, kid: str = "ed", **claims: object) -> str:
        """Return a token that the issuer signed."""
        return self.issuer.sign(kid, header, **claims)

    def shared(self, header: dict[str, Any] | None = None, **claims: object) -> str:
        """Return a token that is signed with the shared secret."""
        return jwt.encode(self.claims(**claims), self.secret, "HS256", header)

    def stolen(self, **header: object) -> str:
        """Return a token that is valid except that the attacker's key signed it."""
        return jwt.encode(self.claims(), self.attacker.keys["evil"][1], "EdDSA", header)

    def public(self, kid: str) -> Any:
        return self.issuer.keys[kid][1].public_key()

    def pem(self, kid: str) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.public(kid).public_bytes(serialization.Encoding.PEM, form)
        return pem

    def der(self, kid: str) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        der: bytes = self.public(kid).public_bytes(serialization.Encoding.DER, form)
        return der

    def jwk(self, kid: str) -> dict[str, Any]:
        return as_jwk(self.public(kid), self.issuer.keys[kid][0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An API with both kinds of keys, and an attacker."""
    secret = secrets.token_hex(32)
    with issuing() as issuer, issuing() as attacker, pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "MIN_FETCH_INTERVAL", 0)  # each unknown key causes a fetch
        issuer.add("ed").add("rsa", "RS256").add("ec", "ES256").add("ed2").add("ec2", "ES256")
        attacker.add("evil")
        patch.chdir(tmp_path_factory.mktemp("empty"))  # has no .env
        for name, value in {
            "JWT_JWKS_URL": issuer.url,
            "JWT_SECRET": secret,
            "JWT_ISSUER": issuer.url,
            "JWT_AUDIENCE": ME,
        }.items():
            patch.setenv(name, value)
        with verifying() as verifier:
            yield World(issuer, attacker, secret, verifier)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def segment(value: object) -> str:
    return b64(json.dumps(value).encode())


def forged(header: object, claims: object, signature: bytes = b"") -> str:
    return f"{segment(header)}.{segment(claims)}.{b64(signature)}"


def mac(header: dict[str, Any], claims: object, key: bytes, algorithm: str = "sha256") -> str:
    """Sign without PyJWT, which would refuse some of these keys."""
    head = forged({"alg": "HS256"} | header, claims).rpartition(".")[0]
    return f"{head}.{b64(hmac.new(key, head.encode(), algorithm).digest())}"


def parts(token: str) -> tuple[str, str, bytes]:
    header, payload, signature = token.split(".")
    return header, payload, base64.urlsafe_b64decode(signature + "==")


def resigned(token: str, change: Callable[[bytes], bytes]) -> str:
    header, payload, signature = parts(token)
    return f"{header}.{payload}.{b64(change(signature))}"


def der_signature(raw: bytes) -> bytes:
    """Return an ECDSA signature in DER instead of the raw form of JWS."""
    out = b""
    for number in (raw[:32], raw[32:]):
        stripped = number.lstrip(b"\0") or b"\0"
        stripped = (b"\0" if stripped[0] > 0x7F else b"") + stripped
        out += b"\x02" + bytes([len(stripped)]) + stripped
    whole = b"\x30" + bytes([len(out)]) + out
    assert decode_dss_signature(whole)
    return whole


def other_payload(w: World, **claims: object) -> str:
    header, _, signature = parts(w.signed())
    return f"{header}.{segment(w.claims(**claims))}.{b64(signature)}"


def other_header(w: World, **members: object) -> str:
    _, payload, signature = parts(w.signed())
    return f"{segment({'alg': 'EdDSA', 'kid': 'ed'} | members)}.{payload}.{b64(signature)}"


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def deep_payload(w: World) -> str:
    # Python 3.11 fails because of the depth, later versions because the JSON is incomplete.
    claims = json.dumps(w.claims())[:-1] + ', "deep": ' + "[" * 4500
    private: Any = w.issuer.keys["ed"][1]
    head = f"{segment({'alg': 'EdDSA', 'kid': 'ed'})}.{b64(claims.encode())}"
    return f"{head}.{b64(private.sign(head.encode()))}"


FORGERIES: dict[str, Callable[[World], str]] = {
    # 2.1 and 3.1: the algorithm is the attacker's choice
    "no algorithm, none": lambda w: forged({"alg": "none"}, w.claims()),
    "no algorithm, None": lambda w: forged({"alg": "None"}, w.claims()),
    "no algorithm, nOnE": lambda w: forged({"alg": "nOnE"}, w.claims()),
    "no algorithm, none with a key's name": lambda w: forged({"alg": "none", "kid": "ed"}, w.claims()),
    "no algorithm, none with a true signature": lambda w: other_header(w, alg="none"),
    "no algorithm, empty": lambda w: forged({"alg": ""}, w.claims()),
    "no algorithm, null": lambda w: forged({"alg": None}, w.claims()),
    "no algorithm, a list": lambda w: forged({"alg": ["EdDSA", "none"]}, w.claims()),
    "no algorithm, left out": lambda w: forged({"kid": "ed"}, w.claims()),
    "HMAC with the public RSA key, PEM": lambda w: mac({"kid": "rsa"}, w.claims(), w.pem("rsa")),
    "HMAC with the public RSA key, PEM, no kid": lambda w: mac({}, w.claims(), w.pem("rsa")),
    "HMAC with the public RSA key, PEM stripped": lambda w: mac({}, w.claims(), w.pem("rsa").strip()),
    "HMAC with the public RSA key, DER": lambda w: mac({"kid": "rsa"}, w.claims(), w.der("rsa")),
    "HMAC with the public RSA key, modulus": lambda w: mac({}, w.claims(), w.jwk("rsa")["n"].encode()),
    "HMAC with the public RSA key, JWK": lambda w: mac({}, w.claims(), json.dumps(w.jwk("rsa")).encode()),
    "HMAC with the public EC key, PEM": lambda w: mac({"kid": "ec"}, w.claims(), w.pem("ec")),
    "HMAC with the public EC key, x": lambda w: mac({"kid": "ec"}, w.claims(), w.jwk("ec")["x"].encode()),
    "HMAC with the public Ed25519 key, PEM": lambda w: mac({"kid": "ed"}, w.claims(), w.pem("ed")),
    "HMAC with the public Ed25519 key, raw": lambda w: mac(
        {"kid": "ed"}, w.claims(), w.public("ed").public_bytes_raw()
    ),
    "HMAC under the name of RS256": lambda w: mac({"alg": "RS256", "kid": "rsa"}, w.claims(), w.pem("rsa")),
    "the secret under the name of EdDSA": lambda w: mac(
        {"alg": "EdDSA", "kid": "ed"}, w.claims(), w.secret.encode()
    ),
    "the secret under the name of none": lambda w: mac({"alg": "none"}, w.claims(), w.secret.encode()),
    "the secret with an algorithm not allowed, HS512": lambda w: jwt.encode(w.claims(), w.secret, "HS512"),
    "the RSA key with an algorithm not its own, PS256": lambda w: jwt.encode(
        w.claims(), w.issuer.keys["rsa"][1], "PS256", {"kid": "rsa"}
    ),
    "the RSA key with an algorithm not allowed, RS512": lambda w: jwt.encode(
        w.claims(), w.issuer.keys["rsa"][1], "RS512", {"kid": "rsa"}
    ),
    "one key under the name of another": lambda w: w.signed({"kid": "ed2"}),
    "one key under the name of another kind's": lambda w: w.signed({"kid": "rsa"}),
    "one EC key under the name of another": lambda w: w.signed({"kid": "ec2"}, kid="ec"),
    "no name where several keys fit": lambda w: jwt.encode(w.claims(), w.issuer.keys["ed"][1], "EdDSA"),
    # 2.2 and 3.5: keys that can be guessed
    "an empty secret": lambda w: mac({}, w.claims(), b""),
    "the secret that tutorials use": lambda w: mac({}, w.claims(), b"secret"),
    "the secret as hexadecimal digits stand for it": lambda w: mac({}, w.claims(), bytes.fromhex(w.secret)),
    # 2.3, 3.2 and 3.4: invalid signatures
    "no signature": lambda w: resigned(w.signed(), lambda _: b""),
    "half a signature": lambda w: resigned(w.signed(), lambda s: s[:32]),
    "a signature and more": lambda w: resigned(w.signed(), lambda s: s + b"\0"),
    "a signature with one bit changed": lambda w: resigned(w.signed(), lambda s: s[:-1] + bytes([s[-1] ^ 1])),
    "a short HMAC": lambda w: resigned(w.shared(), lambda s: s[:16]),
    "an ECDSA signature of zeros": lambda w: resigned(w.signed(kid="ec"), lambda _: bytes(64)),
    "an ECDSA signature in DER": lambda w: resigned(w.signed(kid="ec"), der_signature),
    "an ECDSA signature of the group's order": lambda w: resigned(
        w.signed(kid="ec"),
        lambda _: bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") * 2,
    ),
    "an RSA signature of zeros": lambda w: resigned(w.signed(kid="rsa"), lambda _: bytes(256)),
    "an Ed25519 signature of zeros": lambda w: resigned(w.signed(), lambda _: bytes(64)),
    "a true signature over another user": lambda w: other_payload(w, sub="bob"),
    "a true signature over another end": lambda w: other_payload(w, exp=NOW + 10**6),
    "a true signature over another header": lambda w: other_header(w, more=1),
    # 2.4 and 2.5: encryption and nesting
    "encrypted": lambda _: (
        f"{segment({'alg': 'dir', 'enc': 'A256GCM'})}..{b64(b'iv')}.{b64(b'text')}.{b64(b't')}"
    ),
    "a token with five parts": lambda w: w.signed() + ".e30.e30",
    "a token in a token": lambda w: forged({"alg": "none", "cty": "JWT"}, w.signed()),
    "the JSON serialisation": lambda w: json.dumps(
        dict(zip(("protected", "payload", "signature"), w.signed().split("."), strict=True))
    ),
    # 2.6 and 3.7: encodings
    "nothing": lambda _: "",
    "two dots": lambda _: "..",
    "one part": lambda w: w.signed().partition(".")[0],
    "two parts": lambda w: w.signed().rpartition(".")[0],
    "the other alphabet of base64": lambda w: (
        w.signed({"fill": "?>" * 9}).replace("-", "+").replace("_", "/")
    ),
    "a segment with bits to spare": lambda w: resigned(w.signed(), lambda s: s)[:-1] + "B",
    "a line break": lambda w: w.signed()[:40] + "\n" + w.signed()[40:],
    "a NUL": lambda w: w.signed() + "\0",
    "letters beyond ASCII": lambda w: w.signed() + "\u00e9",
    "a payload that is no object": lambda w: jwt.PyJWS().encode(
        b'["alice"]', w.issuer.keys["ed"][1], "EdDSA", {"kid": "ed"}
    ),
    "a payload that is no UTF-8": lambda w: jwt.PyJWS().encode(
        b'{"sub": "\xff"}', w.issuer.keys["ed"][1], "EdDSA", {"kid": "ed"}
    ),
    "a header that is no object": lambda w: f"{segment(['EdDSA'])}.{segment(w.claims())}.AA",
    "a header without end": lambda w: f"{b64(b'[' * 4000)}.{segment(w.claims())}.AA",
    "a payload without end": deep_payload,
    # 2.10, 3.10: keys and addresses in the header are ignored
    "a key of the token's own": lambda w: w.stolen(
        jwk=as_jwk(w.attacker.keys["evil"][1].public_key(), "EdDSA")
    ),
    "a key of the token's own under a true name": lambda w: w.stolen(
        kid="ed", jwk=as_jwk(w.attacker.keys["evil"][1].public_key(), "EdDSA")
    ),
    "a key set of the token's own": lambda w: w.stolen(kid="evil", jku=w.attacker.url),
    "a key set of the token's own under a true name": lambda w: w.stolen(kid="ed", jku=w.attacker.url),
    "a certificate of the token's own": lambda w: w.stolen(kid="ed", x5c=[b64(b"certificate")]),
    "a certificate elsewhere": lambda w: w.stolen(kid="ed", x5u=w.attacker.url),
    "a key in a file": lambda w: mac({"kid": "../../../../dev/null"}, w.claims(), b""),
    "a key in a database": lambda w: mac({"kid": "' union select 'secret"}, w.claims(), b"secret"),
    "a key that does not exist": lambda w: w.signed({"kid": "nobody"}),
    "a key's name that is a number": lambda w: forged({"alg": "EdDSA", "kid": 1}, w.claims()),
    "a key's name that is null": lambda w: forged({"alg": "EdDSA", "kid": None}, w.claims()),
    "a key's name that is very long": lambda w: w.signed({"kid": "ed" * 2000}),
    # RFC 7515, section 4.1.11
    "an extension that must be understood": lambda w: w.signed({"crit": ["exp"], "exp": 1}),
    "an extension that is not there": lambda w: w.signed({"crit": ["b64"]}),
    "no extension that must be understood": lambda w: w.signed({"crit": []}),
    "an extension that is no list": lambda w: w.signed({"crit": "b64", "b64": True}),
    "a payload left out": lambda w: jwt.PyJWS().encode(
        json.dumps(w.claims()).encode(),
        w.issuer.keys["ed"][1],
        "EdDSA",
        {"kid": "ed", "b64": False},
    ),
    # 2.8, 3.11 and 3.12: a token for something else, signed with the same key
    "a logout token": lambda w: w.signed({"typ": "logout+jwt"}),
    "a logout token, as a media type": lambda w: w.signed({"typ": "application/logout+jwt"}),
    "a proof of possession": lambda w: w.signed({"typ": "dpop+jwt"}),
    "a type that is no text": lambda w: w.signed({"typ": ["JWT"]}),
}

MISUSES: dict[str, Callable[[World], str]] = {
    # 2.7, 3.8 and 3.9: issued by someone else, or for another service
    "another issuer": lambda w: w.signed(iss="https://evil.example"),
    "an issuer that begins like ours": lambda w: w.signed(iss=w.issuer.url + ".evil.example"),
    "our issuer in a list": lambda w: w.signed(iss=[w.issuer.url]),
    "no issuer": lambda w: jwt.encode({"sub": "alice", "exp": NOW + 900, "aud": ME}, w.secret),
    "another audience": lambda w: w.signed(aud="https://mail.example"),
    "an audience that begins like ours": lambda w: w.signed(aud=ME + ".evil.example"),
    "an audience that ends like ours": lambda w: w.signed(aud=["x" + ME]),
    "an audience that is an object": lambda w: w.signed(aud={ME: True}),
    "no audience": lambda w: w.signed(aud=None),
    "no audience, an empty list": lambda w: w.signed(aud=[]),
    "the token of a mail to confirm an address": lambda w: jwt.encode(
        {"email": "alice@example.com", "iat": NOW, "exp": NOW + 3600}, w.secret
    ),
    "the cookie of a session": lambda w: jwt.encode(
        {"session": {"userId": "alice"}, "user": {"id": "alice"}, "iat": NOW, "exp": NOW + 300}, w.secret
    ),
    # RFC 7519, sections 4.1.4 to 4.1.6
    "no end": lambda w: jwt.encode(
        {"sub": "alice", "iss": w.issuer.url, "aud": ME}, w.issuer.keys["ed"][1], "EdDSA", {"kid": "ed"}
    ),
    "no end, null": lambda w: w.signed(exp=None),
    "an end in the past": lambda w: w.signed(exp=NOW - 60),
    "an end at the beginning of time": lambda w: w.signed(exp=0),
    "an end before time": lambda w: w.signed(exp=-(10**30)),
    "an end at infinity": lambda w: w.signed(exp=float("inf")),
    "an end that is no number": lambda w: w.signed(exp=float("nan")),
    "an end in words": lambda w: w.signed(exp="never"),
    "an end that is true": lambda w: w.signed(exp=True),
    "an end in a list": lambda w: w.signed(exp=[NOW + 900]),
    "not before tomorrow": lambda w: w.signed(nbf=NOW + 86400),
    "not before infinity": lambda w: w.signed(nbf=float("inf")),
    "issued tomorrow": lambda w: w.signed(iat=NOW + 86400),
    "issued in words": lambda w: w.shared(iat="now"),
    # the user
    "no user": lambda w: w.signed(sub=None),
    "a user without a name": lambda w: w.signed(sub=""),
    "a user that is true": lambda w: w.signed(sub=True),
    "a user that is a fraction": lambda w: w.signed(sub=1.5),
    "a user that is a list": lambda w: w.signed(sub=["alice"]),
    "a user that is an object": lambda w: w.signed(sub={"$ne": None}),
    "a user with a NUL": lambda w: w.signed(sub="alice\0"),
    "a user with half a character": lambda w: w.signed(sub="alice\ud83d"),
    "a user longer than the database takes": lambda w: w.signed(sub="a" * 256),
    "a number longer than the database takes": lambda w: w.signed(sub=10**255),
    # size
    "a token over 8 KiB": lambda w: w.signed(more="x" * 6500),
}


@pytest.mark.parametrize("kid", ["ed", "rsa", "ec"])
def test_a_valid_token_is_accepted(world: World, kid: str) -> None:
    assert world.verifier.user(world.signed(kid=kid)) == "alice"


def test_a_valid_token_of_the_secret_is_accepted(world: World) -> None:
    assert world.verifier.user(world.shared()) == "alice"
    assert world.verifier.user(world.shared({"kid": "whatever"}, sub="bob")) == "bob"


@pytest.mark.parametrize("attack", FORGERIES)
def test_a_forged_token_gets_401_without_the_cause(world: World, attack: str) -> None:
    assert world.verifier.answer(FORGERIES[attack](world)) == 401
    assert world.verifier.detail(FORGERIES[attack](world)) == INVALID


@pytest.mark.parametrize("attack", MISUSES)
def test_a_misused_valid_token_gets_401(world: World, attack: str) -> None:
    assert world.verifier.answer(MISUSES[attack](world)) == 401


def test_an_address_in_a_token_is_never_fetched(world: World) -> None:
    for attack in FORGERIES.values():
        world.verifier.answer(attack(world))
    assert world.attacker.fetches == 0
    assert set(world.issuer.asked) == {"/jwks"}


def test_the_cache_of_valid_tokens_accepts_no_altered_token(world: World) -> None:
    true = world.signed()
    assert world.verifier.user(true) == "alice"
    assert [world.verifier.answer(other_payload(world, sub="bob")) for _ in range(3)] == [401] * 3
    assert [world.verifier.answer(resigned(true, lambda s: s[:-1])) for _ in range(3)] == [401] * 3
    assert world.verifier.user(true) == "alice"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_the_types_of_access_tokens_are_accepted(world: World, kind: str | None) -> None:
    assert world.verifier.user(world.signed({"typ": kind})) == "alice"


def test_a_token_of_8_kib_is_accepted_and_a_longer_one_refused(world: World) -> None:
    tokens = {len(token): token for token in (world.shared(fill="x" * n) for n in range(5900, 6000))}
    assert min(tokens) < 8192 < max(tokens)
    assert world.verifier.user(tokens[8192 if 8192 in tokens else 8191]) == "alice"
    assert world.verifier.answer(tokens[8193 if 8193 in tokens else 8194]) == 401
