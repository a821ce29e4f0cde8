"""The keys that verify tokens: the shared secret, and those that an issuer publishes (RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from jwt.utils import base64url_encode

from app.identity.fetch import UNREACHABLE, get
from app.problems import Problem
from app.settings import HMAC, TokenSettings

log = logging.getLogger("uvicorn.error")

REFRESH_INTERVAL = 300  # seconds that fetched keys are taken for current
RETRY_INTERVAL = 10  # seconds after a fetch that failed
MIN_FETCH_INTERVAL = 5  # seconds between fetches that tokens may cause, however many name unknown keys
MAX_KEYS = 100  # keys of a set
RSA_BITS = range(2048, 8193)

UNKNOWN = "The keys of the token's issuer could not be fetched yet; try again"

# The key's kind decides what it may verify, never the token (RFC 8725, section 3.1).
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
KINDS = {
    ("RSA", None): RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}

# What making a key of nonsense may fail with.
UNUSABLE = (PyJWTError, UnsupportedAlgorithm, AttributeError, KeyError, TypeError, ValueError)


class Keys:
    """All keys of this deploy. A published one counts until a fetch says that it is withdrawn."""

    def __init__(self, settings: TokenSettings) -> None:
        self.allowed = frozenset(settings.jwt_algorithms) - HMAC
        self.shared = list(_shared(settings))
        self.url = settings.jwt_jwks_url
        self.unbound = [n for n in ("JWT_ISSUER", "JWT_AUDIENCE") if not getattr(settings, n.lower())]
        self.published: list[PyJWK] | None = None
        # Users and until when, by their tokens' digests: what was verified since the last fetch.
        self.verified: dict[bytes, tuple[str, float]] = {}
        self.current = False
        self.asked = float("-inf")
        self.fetching: asyncio.Task[None] | None = None
        self.refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Fetch the keys, and go on where that fails: the issuer may start later than we do."""
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

    async def find(self, algorithm: object, kid: str | None) -> list[PyJWK]:
        """Return the keys that may have signed such a token; raise Problem 503 where none is known yet."""
        if not isinstance(algorithm, str) or algorithm not in self.allowed or not self.url:
            return [key for key in self.shared if key.algorithm_name == algorithm]
        found = self._named(algorithm, kid)
        if not found and self._may_ask():
            await self.fetch()
            found = self._named(algorithm, kid)
        if self.published is None:
            raise Problem(503, UNKNOWN, {"Retry-After": str(MIN_FETCH_INTERVAL)})
        return found

    def _named(self, algorithm: str, kid: str | None) -> list[PyJWK]:
        """With several keys, a token must say which is its own (OpenID Connect Core, section 10.1)."""
        fit = [key for key in self.published or () if key.algorithm_name == algorithm]
        if kid is None:
            return fit if len(fit) == 1 else []
        return [key for key in fit if key.key_id == kid]

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
        try:
            document = json.loads(await get(self.url or ""))
            if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
                raise ValueError("it is no JSON Web Key Set")  # noqa: TRY004 - caught below
        except (*UNREACHABLE, RecursionError) as error:
            self.current = False
            log.warning("JWT_JWKS_URL: the keys could not be fetched: %s %s", type(error).__name__, error)
            return
        self.published = [key for jwk in document["keys"][:MAX_KEYS] for key in usable(jwk)]
        self.verified = {}
        self.current = True
        if not self.published:
            log.warning("JWT_JWKS_URL: no key there is usable")

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_INTERVAL if self.current else RETRY_INTERVAL)
            await self.fetch()


def _shared(settings: TokenSettings) -> Iterator[PyJWK]:
    """Yield the secret, once for each algorithm that the settings allow."""
    if settings.jwt_secret:
        k = base64url_encode(settings.jwt_secret.get_secret_value().encode()).decode()
        for algorithm in HMAC.intersection(settings.jwt_algorithms):
            yield PyJWK({"kty": "oct", "k": k}, algorithm)


def usable(jwk: Any) -> Iterator[PyJWK]:  # noqa: ANN401 - JSON is Any
    """Yield the key, once for each algorithm that its kind and its issuer let it verify."""
    with suppress(*UNUSABLE):
        if "d" in jwk or jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ("verify",)):
            return  # a private key that was published, or one that is not for signatures
        for algorithm in KINDS.get((jwk["kty"], jwk.get("crv")), ()):
            if jwk.get("alg", algorithm) == algorithm:
                key = PyJWK(jwk, algorithm)
                if algorithm not in RSA or key.key.key_size in RSA_BITS:
                    yield key
