"""The time to verify a token, for new tokens and for one that was verified before."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import PyJWK
from jwt.algorithms import OKPAlgorithm

from app.identity.keys import Keys
from app.identity.tokens import Tokens
from app.settings import TokenSettings
from performance.services import SECRET

TIMES = 2000


def measure() -> dict[str, Any]:
    """Return the microseconds per verification, the minimum of five rounds."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    settings = TokenSettings.model_validate({"JWT_SECRET": SECRET})
    tokens = Tokens(settings, Keys(settings))
    claims = {"sub": "alice", "iat": int(time.time()), "exp": int(time.time()) + 600}
    symmetric = jwt.encode(claims, SECRET, "HS256")
    private = Ed25519PrivateKey.generate()
    asymmetric = jwt.encode(claims, private, "EdDSA")
    public = PyJWK(OKPAlgorithm.to_jwk(private.public_key(), as_dict=True), "EdDSA")

    async def signed() -> None:
        tokens.decode(asymmetric, public)

    return {
        "HS256": await _each(lambda: tokens.claims(symmetric, b"")),
        "EdDSA": await _each(signed),
        "seen before": await _each(lambda: tokens.user(symmetric)),
    }


async def _each(check: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(TIMES):
            await check()
        times.append((time.perf_counter() - begun) / TIMES * 1e6)
    return min(times)
