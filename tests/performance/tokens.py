"""The token check alone."""

import time
from timeit import repeat
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from app.auth import Tokens
from app.settings import TokenSettings
from performance.services import SECRET

TIMES = 2000


def measure() -> dict[str, Any]:
    """Return the microseconds of one check, the best of five rounds."""
    settings = TokenSettings.model_validate({"JWT_SECRET": SecretStr(SECRET)})
    tokens = Tokens(settings)
    claims = {"sub": "alice", "iat": int(time.time()), "exp": int(time.time()) + 600}
    symmetric = jwt.encode(claims, SECRET, "HS256")
    private = Ed25519PrivateKey.generate()
    asymmetric = jwt.encode(claims, private, "EdDSA")
    public = private.public_key()
    return {
        "HS256": _each(lambda: tokens.user(symmetric)),
        "EdDSA": _each(lambda: tokens.jwt.decode(asymmetric, public, ["EdDSA"], leeway=10)["sub"]),
    }


def _each(check: Any) -> float:
    return min(repeat(check, number=TIMES, repeat=5)) / TIMES * 1e6
