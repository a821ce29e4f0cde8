"""Keys that verify tokens: the shared secrets, and the JWKS that an issuer publishes (RFC 7517).

The JWKS is fetched at startup, every REFRESH_INTERVAL, and when a token names an unknown key. Tokens with
forged key names could cause one fetch each, so there is at most one fetch in MIN_FETCH_INTERVAL. While it is
unknown whether a key exists, the response is 503. With a 401, clients would discard a token that may be
valid. If a fetch fails, the keys of the last successful fetch stay valid.
"""

import asyncio
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from math import ceil
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError

from app.identity import Reason, Refused
from app.identity.fetch import UNREACHABLE, get, proxy_for
from app.setting_types import HMAC
from app.settings import TokenSettings

log = logging.getLogger("uvicorn.error")

REFRESH_INTERVAL = 300  # seconds between fetches
RETRY_INTERVAL = 10  # seconds between fetches while they fail
MIN_FETCH_INTERVAL = 5  # seconds between fetches for tokens that name unknown keys
MAX_KEYS = 100  # keys of one JWKS that are used
MAX_WITHDRAWN = 1000  # names of withdrawn keys that are kept
MAX_WAITING = 4096  # tokens with unknown keys that are kept, about 200 bytes each
RSA_BITS = range(2048, 8193)

TRY_AGAIN = "The key of the token could not be fetched from its issuer yet; try again"

# The algorithms that a key may verify depend on its kind, never on the token (RFC 8725, section 3.1).
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
KINDS = {
    ("RSA", None): RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
# Two names of one algorithm: the old one and the one that includes the curve (RFC 9864, section 2.2).
EDWARDS = frozenset({"EdDSA", "Ed25519"})

# Exceptions that PyJWT and cryptography raise for a malformed key.
UNUSABLE = (PyJWTError, UnsupportedAlgorithm, AttributeError, KeyError, TypeError, ValueError)


class Keys:
    """All keys that verify tokens. A published key is valid until a fetched JWKS does not contain it."""

    def __init__(self, settings: TokenSettings) -> None:
        allowed = frozenset(settings.jwt_algorithms) - HMAC
        self.allowed = allowed | EDWARDS if allowed & EDWARDS else allowed
        self.rotating = settings.jwt_secret_previous is not None
        self.shared = list(_shared(settings))
        self.url = settings.jwt_jwks_url
        self.unbound = [n for n in ("JWT_ISSUER", "JWT_AUDIENCE") if not getattr(settings, n.lower())]
        self.published: list[PyJWK] | None = None
        # Tokens that were verified since the last fetch: the user id and the expiry, by the token's digest.
        self.verified: dict[bytes, tuple[str, float]] = {}
        self.current = False
        self.failure = ""  # why the last fetch failed
        self.usable = 0  # number of usable keys; `published` has a key once for each of its algorithms
        self.noted: set[str] = set()  # what was logged about the keys
        self.last_asked = float("-inf")  # when a fetch for an unknown key last began
        self.begun = self.succeeded = 0  # number of fetches, and the number of the newest one that succeeded
        self.withdrawn: set[str | None] = set()  # names of keys that are no longer published
        # For each token with an unknown key, by digest: how many fetches had begun when it was first seen.
        self.waiting: dict[bytes, int] = {}
        self.fetching: asyncio.Task[None] | None = None
        self.refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Fetch the keys. A failure is only logged, since the issuer may start after this process."""
        if self.rotating:
            log.warning("JWT_SECRET_PREVIOUS is set: empty it when the last token signed with it has expired")
        if self.url:
            if self.unbound:
                log.warning("Any token of the issuer is accepted: set %s", " and ".join(self.unbound))
            if self.shared:
                log.warning("Tokens signed with JWT_SECRET (or BETTER_AUTH_SECRET) are accepted, too")
            await self.fetch()
            self.refreshing = asyncio.create_task(self._refresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self.refreshing, self.fetching) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def verifies(self, algorithm: object) -> bool:
        """Return whether any key may verify a signature with this algorithm."""
        published = bool(self.url) and algorithm in self.allowed
        return published or any(key.algorithm_name == algorithm for key in self.shared)

    async def find(self, algorithm: str, kid: str | None, token: bytes) -> list[PyJWK]:
        """Return the keys that may have signed a token. `token` is its digest.

        Raise Refused with 503 while this is unknown. An issuer publishes a key before it signs with it. So
        the answer is known after a successful fetch that began after the token was first seen.
        """
        if algorithm not in self.allowed or not self.url:
            return [key for key in self.shared if key.algorithm_name == algorithm]
        found = self._named(algorithm, kid)
        if found is None:
            first_seen = self._first_seen(token)
            if self._may_ask():
                await self.fetch()
                found = self._named(algorithm, kid)
            if found is None and self.succeeded <= first_seen and kid not in self.withdrawn:
                pause = self.last_asked + MIN_FETCH_INTERVAL - asyncio.get_running_loop().time()
                raise Refused(Reason.UNKNOWN_YET, 503, TRY_AGAIN, {"Retry-After": str(max(ceil(pause), 1))})
        return found or []

    def _named(self, algorithm: str, kid: str | None) -> list[PyJWK] | None:
        """Return the published keys with this name, or None if there is none and a fetch may find one.

        If several keys are published, a token must name its key (OpenID Connect Core, section 10.1).
        """
        published = self.published or []
        fit = [key for key in published if key.algorithm_name == algorithm]
        if kid is None:
            return (fit if len(fit) == 1 else []) if fit else None
        if all(key.key_id != kid for key in published):
            return None
        return [key for key in fit if key.key_id == kid]

    def _first_seen(self, token: bytes) -> int:
        """Return how many fetches had begun when the token was first seen.

        Beyond MAX_WAITING the oldest token is dropped, and counts as new when it is seen again.
        """
        if token not in self.waiting and len(self.waiting) >= MAX_WAITING:
            del self.waiting[next(iter(self.waiting))]
        return self.waiting.setdefault(token, self.begun)

    def _may_ask(self) -> bool:
        """Return whether to fetch for an unknown key: a fetch is running, or the last one is old enough."""
        now = asyncio.get_running_loop().time()
        if self.fetching and not self.fetching.done():
            return True
        if now - self.last_asked < MIN_FETCH_INTERVAL:
            return False
        self.last_asked = now
        return True

    async def fetch(self) -> None:
        """Fetch the keys; concurrent callers share one fetch."""
        if not self.fetching or self.fetching.done():
            self.fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self.fetching)

    async def _fetch(self) -> None:
        self.begun += 1
        try:
            document = json.loads(await get(self.url or ""))
            if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
                raise ValueError(_no_key_set(document))  # noqa: TRY004 - caught below
        except (*UNREACHABLE, RecursionError) as error:
            self.current = False
            proxy = " through the proxy of HTTPS_PROXY" if proxy_for(urlsplit(self.url or "")) else ""
            self.failure = f"the keys could not be fetched{proxy}: {type(error).__name__} {error}"
            log.warning("JWT_JWKS_URL: %s", self.failure)
            return
        known = {key.key_id for key in self.published or ()}
        self.published = self._usable(document["keys"])
        self.withdrawn = (known | self.withdrawn) - {key.key_id for key in self.published}
        if len(self.withdrawn) > MAX_WITHDRAWN:
            self.withdrawn = set()
        self.verified = {}
        self.succeeded = self.begun
        self.current, self.failure = True, ""

    def _usable(self, jwks: list[Any]) -> list[PyJWK]:
        """Return the usable keys. For each other key, log once why it is not used."""
        keys: list[PyJWK] = []
        self.usable = 0
        notes = [f"only the first {MAX_KEYS} of {len(jwks)} keys are used"] if len(jwks) > MAX_KEYS else []
        for jwk in jwks[:MAX_KEYS]:
            try:
                keys += self._allowed(read_key(jwk))
                self.usable += 1
            except Unusable as reason:
                notes.append(f"the key {_name(jwk)} is not used: {reason}")
        if not keys:
            notes.append("it has no usable key")
        for note in notes:
            if note not in self.noted:
                log.warning("JWT_JWKS_URL: %s", note)
        self.noted = set(notes)
        return keys

    def _allowed(self, keys: list[PyJWK]) -> list[PyJWK]:
        if self.allowed.isdisjoint(key.algorithm_name for key in keys):
            raise Unusable(f"JWT_ALGORITHMS does not include {keys[0].algorithm_name}")
        return keys

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_INTERVAL if self.current else RETRY_INTERVAL)
            await self.fetch()


def _shared(settings: TokenSettings) -> Iterator[PyJWK]:
    """Yield each secret once for each algorithm that JWT_ALGORITHMS allows."""
    for secret in filter(None, (settings.jwt_secret, settings.jwt_secret_previous)):
        k = urlsafe_b64encode(secret.get_secret_value().encode()).decode()
        for algorithm in HMAC.intersection(settings.jwt_algorithms):
            yield PyJWK({"kty": "oct", "k": k}, algorithm)


def _no_key_set(document: object) -> str:
    if isinstance(document, dict) and "jwks_uri" in document:
        return "it is the issuer's metadata; set JWT_JWKS_URL to the jwks_uri in it"
    return "it is not a JSON Web Key Set"


def _name(jwk: object) -> str:
    """Return the kid of a key for the log: one line of ASCII, at most 80 characters."""
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return ascii(kid)[:80] if isinstance(kid, str) else "without a kid"


class Unusable(Exception):
    """Why a published key cannot be used."""


def read_key(jwk: Any) -> list[PyJWK]:  # noqa: ANN401 - JSON is Any
    """Return the key once for each algorithm that its kind and its `alg` allow.

    Raise Unusable if the key is malformed, private, not for signatures, or of an unsupported kind.
    """
    try:
        return _read_key(jwk)
    except UNUSABLE:
        raise Unusable("it is malformed") from None


def _read_key(jwk: Any) -> list[PyJWK]:  # noqa: ANN401
    if not isinstance(jwk.get("kid"), str | None):
        raise Unusable("its kid is not a string")
    if "d" in jwk:
        raise Unusable("it is a private key, which must not be published: replace it")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ("verify",)):
        raise Unusable("it is not for signatures")
    algorithms = KINDS.get((jwk["kty"], jwk.get("crv")), ())
    if not algorithms:
        raise Unusable("its kind or curve is not supported")
    alg = jwk.get("alg")
    if alg in EDWARDS:
        algorithms = tuple(name for name in algorithms if name in EDWARDS)
    elif alg is not None:
        algorithms = tuple(name for name in algorithms if name == alg)
    if not algorithms:
        raise Unusable("its alg does not match its kind")
    keys = [_key_for(algorithm, jwk) for algorithm in algorithms]
    if jwk["kty"] == "RSA" and keys[0].key.key_size not in RSA_BITS:
        raise Unusable(f"it has {keys[0].key.key_size} bits, not {RSA_BITS[0]} to {RSA_BITS[-1]}")
    return keys


def _key_for(algorithm: str, jwk: Any) -> PyJWK:  # noqa: ANN401
    """Return a key that verifies only this algorithm. In PyJWT Ed25519 has only its old name, EdDSA."""
    key = PyJWK(jwk, "EdDSA" if algorithm in EDWARDS else algorithm)
    key.algorithm_name = algorithm
    return key
