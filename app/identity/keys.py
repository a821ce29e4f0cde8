"""The keys that verify tokens: the shared secrets, and those that an issuer publishes (RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Iterator
from math import ceil
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from jwt.utils import base64url_encode

from app.identity import UNKNOWN_YET, Refused
from app.identity.fetch import UNREACHABLE, get, proxy_for
from app.settings import HMAC, TokenSettings

log = logging.getLogger("uvicorn.error")

REFRESH_INTERVAL = 300  # seconds that fetched keys are taken for current
RETRY_INTERVAL = 10  # seconds after a fetch that failed
MIN_FETCH_INTERVAL = 5  # seconds between fetches that tokens may cause, however many name unknown keys
MAX_KEYS = 100  # keys of a set
MAX_WITHDRAWN = 1000  # names of keys
MAX_WAITING = 4096  # tokens of unknown keys that are remembered, of some 200 bytes each
RSA_BITS = range(2048, 8193)

TRY_AGAIN = "The key of the token could not be fetched from its issuer yet; try again"

# The key's kind decides what it may verify, never the token (RFC 8725, section 3.1).
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
KINDS = {
    ("RSA", None): RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
# One algorithm under its old name and the one that says the curve, too (RFC 9864, section 2.2). That RFC's
# other names are COSE's alone: ES256 and the like always said their curve.
EDWARDS = frozenset({"EdDSA", "Ed25519"})

# What making a key of nonsense may fail with.
UNUSABLE = (PyJWTError, UnsupportedAlgorithm, AttributeError, KeyError, TypeError, ValueError)


class Keys:
    """All keys of this deploy. A published one counts until a fetch says that it is withdrawn."""

    def __init__(self, settings: TokenSettings) -> None:
        allowed = frozenset(settings.jwt_algorithms) - HMAC
        self.allowed = allowed | EDWARDS if allowed & EDWARDS else allowed
        self.rotating = settings.jwt_secret_previous is not None
        self.shared = list(_shared(settings))
        self.url = settings.jwt_jwks_url
        self.unbound = [n for n in ("JWT_ISSUER", "JWT_AUDIENCE") if not getattr(settings, n.lower())]
        self.published: list[PyJWK] | None = None
        # Users and until when, by their tokens' digests: what was verified since the last fetch.
        self.verified: dict[bytes, tuple[str, float]] = {}
        self.current = False
        self.failure = ""  # why the last fetch failed
        self.usable = 0  # keys, of which some are published for several algorithms
        self.noted: set[str] = set()  # what was logged of the keys
        self.asked = float("-inf")
        self.begun = self.succeeded = 0  # fetches, and the newest that succeeded
        self.withdrawn: set[str | None] = set()  # names of keys that were published earlier
        # How many fetches had begun when a token of an unknown key was first seen, by its digest.
        self.waiting: dict[bytes, int] = {}
        self.fetching: asyncio.Task[None] | None = None
        self.refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Fetch the keys, and go on where that fails: the issuer may start later than we do."""
        if self.rotating:
            log.warning("JWT_SECRET_PREVIOUS verifies tokens: empty it when the last one has expired")
        if self.url:
            if self.unbound:
                log.warning("Any token of the issuer is accepted: set %s", " and ".join(self.unbound))
            if self.shared:
                log.warning("JWT_SECRET (or BETTER_AUTH_SECRET) is accepted besides JWT_JWKS_URL")
            await self.fetch()
            self.refreshing = asyncio.create_task(self._refresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self.refreshing, self.fetching) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def verifies(self, algorithm: object) -> bool:
        """Return whether any key may verify this algorithm."""
        published = bool(self.url) and algorithm in self.allowed
        return published or any(key.algorithm_name == algorithm for key in self.shared)

    async def find(self, algorithm: str, kid: str | None, token: bytes) -> list[PyJWK]:
        """Return the keys that may have signed the token of this digest, or none.

        Raise Refused 503 while it is not known whether there is one. It is known once a fetch that began
        after the token was first seen has succeeded, since an issuer publishes a key before it signs with it.
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
                pause = self.asked + MIN_FETCH_INTERVAL - asyncio.get_running_loop().time()
                raise Refused(UNKNOWN_YET, 503, TRY_AGAIN, {"Retry-After": str(max(ceil(pause), 1))})
        return found or []

    def _named(self, algorithm: str, kid: str | None) -> list[PyJWK] | None:
        """Return the keys of this name, or None, if a fetch may bring one.

        With several keys, a token must name its own (OpenID Connect Core, section 10.1).
        """
        published = self.published or []
        fit = [key for key in published if key.algorithm_name == algorithm]
        if kid is None:
            return (fit if len(fit) == 1 else []) if fit else None
        if all(key.key_id != kid for key in published):
            return None
        return [key for key in fit if key.key_id == kid]

    def _first_seen(self, token: bytes) -> int:
        """Return how many fetches had begun by then; of a token that was forgotten, it is now."""
        if token not in self.waiting and len(self.waiting) >= MAX_WAITING:
            del self.waiting[next(iter(self.waiting))]
        return self.waiting.setdefault(token, self.begun)

    def _may_ask(self) -> bool:
        """Join a fetch that is under way, or begin one: not again for a while, whether or not it succeeds."""
        now = asyncio.get_running_loop().time()
        if self.fetching and not self.fetching.done():
            return True
        if now - self.asked < MIN_FETCH_INTERVAL:
            return False
        self.asked = now
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
        """Return the keys that can be used; log once why another one is not."""
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
            notes.append("no key there is usable")
        for note in notes:
            if note not in self.noted:
                log.warning("JWT_JWKS_URL: %s", note)
        self.noted = set(notes)
        return keys

    def _allowed(self, keys: list[PyJWK]) -> list[PyJWK]:
        if self.allowed.isdisjoint(key.algorithm_name for key in keys):
            raise Unusable(f"JWT_ALGORITHMS does not name {keys[0].algorithm_name}")
        return keys

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_INTERVAL if self.current else RETRY_INTERVAL)
            await self.fetch()


def _shared(settings: TokenSettings) -> Iterator[PyJWK]:
    """Yield each secret, once for each algorithm that the settings allow."""
    for secret in filter(None, (settings.jwt_secret, settings.jwt_secret_previous)):
        k = base64url_encode(secret.get_secret_value().encode()).decode()
        for algorithm in HMAC.intersection(settings.jwt_algorithms):
            yield PyJWK({"kty": "oct", "k": k}, algorithm)


def _no_key_set(document: object) -> str:
    if isinstance(document, dict) and "jwks_uri" in document:
        return "it is the issuer's metadata; set JWT_JWKS_URL to what jwks_uri says there"
    return "it is not a JSON Web Key Set"


def _name(jwk: object) -> str:
    """Return the name of a key for the log: in ASCII, on one line, and not long."""
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return ascii(kid)[:80] if isinstance(kid, str) else "without a kid"


class Unusable(Exception):
    """Why a published key cannot be used."""


def read_key(jwk: Any) -> list[PyJWK]:  # noqa: ANN401 - JSON is Any
    """Return the key, once for each algorithm that its kind and its issuer let it verify; raise Unusable."""
    try:
        return _read_key(jwk)
    except UNUSABLE:
        raise Unusable("it is malformed") from None


def _read_key(jwk: Any) -> list[PyJWK]:  # noqa: ANN401
    if "d" in jwk:
        raise Unusable("it is private, and published: replace it")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ("verify",)):
        raise Unusable("it is not for signatures")
    algorithms = KINDS.get((jwk["kty"], jwk.get("crv")), ())
    if not algorithms:
        raise Unusable("its kind or curve is not supported")
    said = jwk.get("alg")
    if said in EDWARDS:
        algorithms = tuple(name for name in algorithms if name in EDWARDS)
    elif said is not None:
        algorithms = tuple(name for name in algorithms if name == said)
    if not algorithms:
        raise Unusable("its alg is not one of its kind")
    keys = [_as(algorithm, jwk) for algorithm in algorithms]
    if jwk["kty"] == "RSA" and keys[0].key.key_size not in RSA_BITS:
        raise Unusable(f"it has {keys[0].key.key_size} bits, not {RSA_BITS[0]} to {RSA_BITS[-1]}")
    return keys


def _as(algorithm: str, jwk: Any) -> PyJWK:  # noqa: ANN401
    """Make a key that verifies this algorithm alone; PyJWT knows Ed25519 by its old name."""
    key = PyJWK(jwk, "EdDSA" if algorithm in EDWARDS else algorithm)
    key.algorithm_name = algorithm
    return key
