"""`make token`: signs a token with JWT_SECRET, for trying the API out."""

import os
import sys
import time

import jwt

from app.setting_types import HMAC
from app.settings import TokenSettings, load

LIFETIME = 24 * 60 * 60  # seconds


def main() -> None:
    """Print a token for the user in the variable AS."""
    print(make_token(named_user(), load(TokenSettings)))


def make_token(user: str, settings: TokenSettings) -> str:
    """Return a token for the user that is valid for a day. End the process if there is no JWT_SECRET."""
    if not settings.jwt_secret:
        sys.exit("JWT_SECRET: is missing; only the issuer at JWT_JWKS_URL can make a token")
    now = int(time.time())
    claims: dict[str, object] = {settings.jwt_user_claim: user, "iat": now, "exp": now + LIFETIME}
    claims |= {"aud": settings.jwt_audience} if settings.jwt_audience else {}
    claims |= {"iss": settings.jwt_issuer[0]} if settings.jwt_issuer else {}
    algorithm = next(filter(HMAC.__contains__, settings.jwt_algorithms), "HS256")
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm)


def named_user() -> str:
    """Return the user in the variable AS. End the process if it is not set."""
    return os.environ.get("AS") or sys.exit(
        f"AS: is missing; name the user, like make {sys.argv[1]} AS=alice"
    )
