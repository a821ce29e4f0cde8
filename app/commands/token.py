"""Makes a token, for trying the API out."""

import os
import sys
import time

import jwt

from app.settings import HMAC, TokenSettings, load

LIFETIME = 24 * 60 * 60  # seconds


def main() -> None:
    """Print a token for the user named by AS."""
    print(make_token(named_user(), load(TokenSettings)))


def make_token(user: str, settings: TokenSettings) -> str:
    """Make a token that the API accepts for a day."""
    if not settings.jwt_secret:
        sys.exit("JWT_SECRET: is missing; only the issuer at JWT_JWKS_URL can make a token")
    now = int(time.time())
    claims: dict[str, object] = {settings.jwt_user_claim: user, "iat": now, "exp": now + LIFETIME}
    claims |= {"aud": settings.jwt_audience} if settings.jwt_audience else {}
    claims |= {"iss": settings.jwt_issuer[0]} if settings.jwt_issuer else {}
    algorithm = next(filter(HMAC.__contains__, settings.jwt_algorithms), "HS256")
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm)


def named_user() -> str:
    """Return the user named by AS, or end the process saying how to name one."""
    return os.environ.get("AS") or sys.exit(f"say whom: make {sys.argv[1]} AS=alice")
