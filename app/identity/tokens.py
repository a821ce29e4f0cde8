"""The user that a token names (RFC 7519), verified as the settings say."""

import re
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any

from jwt import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWK,
    PyJWT,
    PyJWTError,
    get_unverified_header,
)

from app.identity import (
    ALGORITHM,
    AUDIENCE,
    CLAIM,
    EARLY,
    EXPIRED,
    FORM,
    ISSUER,
    KEY,
    SIGNATURE,
    TYPE,
    Refused,
)
from app.identity.keys import Keys
from app.settings import TokenSettings

MAX_TOKEN_BYTES = 8192
USER = re.compile("[^\0\ud800-\udfff]{1,255}")  # what PostgreSQL is able to hold
MAX_REMEMBERED = 16384  # tokens, of some 300 bytes each
# RFC 7519, RFC 9068: a logout token, a proof of possession and so on is no access token.
TYPES = {"jwt", "at+jwt"}

INVALID = "The token is invalid or has expired"
ELSEWHERE = "The token was issued by someone else, or for another service"

# What is said only if the signature holds, so that a forger learns nothing: the reason, and the detail.
REASONS: dict[type[Exception], tuple[str, str]] = {
    ExpiredSignatureError: (EXPIRED, "The token has expired; get a new one"),
    ImmatureSignatureError: (EARLY, "The token is not valid yet"),
    InvalidAudienceError: (AUDIENCE, ELSEWHERE),
    InvalidIssuerError: (ISSUER, ELSEWHERE),
    MissingRequiredClaimError: (CLAIM, "The token lacks a claim that is needed here"),
}
OF_CLAIM = {"aud": AUDIENCE, "iss": ISSUER}  # if it is missing


class Tokens:
    """Verifies tokens as the settings say."""

    def __init__(self, settings: TokenSettings, keys: Keys) -> None:
        self.keys = keys
        self.audience = settings.jwt_audience or None
        self.issuer = settings.jwt_issuer or None
        self.claim = settings.jwt_user_claim
        self.leeway = settings.jwt_leeway
        self.jwt = PyJWT({
            "require": ["exp"],
            "verify_aud": self.audience is not None,
            "verify_iss": self.issuer is not None,
            "verify_sub": False,  # an integer is accepted
            "verify_jti": False,  # not used
        })  # fmt: skip

    async def user(self, token: str) -> str:
        """Return the user that a valid token names; raise Refused for any other.

        What was verified is remembered until it expires or the keys are fetched again.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise unauthorized(FORM, "The token is too long")
        digest = sha256(token.encode()).digest()
        user, until = self.keys.verified.get(digest, ("", 0.0))
        if until <= time.time():
            claims = await self.claims(token, digest)
            user = self.name(claims.get(self.claim))
            self.remember(digest, user, int(claims["exp"]) + self.leeway)
        return user

    def remember(self, digest: bytes, user: str, until: float) -> None:
        """Keep the newest; only valid tokens get here, so forged ones cannot drive them out."""
        verified = self.keys.verified
        if len(verified) >= MAX_REMEMBERED:
            del verified[next(iter(verified))]
        verified[digest] = user, until

    async def claims(self, token: str, digest: bytes) -> dict[str, Any]:
        """Return what a valid token says; raise Refused for any other."""
        reason, detail = FORM, INVALID
        try:
            # Of the header alone, since all is read again: it picks the key, which decides how to verify.
            header = get_unverified_header(token.partition(".")[0] + "..")
            algorithm, kid = header.get("alg"), header.get("kid")
            if isinstance(algorithm, str):
                keys = await self.keys.find(algorithm, kid, digest)
                for key in keys:
                    with suppress(InvalidSignatureError):
                        return self.verified(token, key)
                reason = SIGNATURE if keys else KEY if self.keys.verifies(algorithm) else ALGORITHM
        except (PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            reason, detail = REASONS.get(type(error), (FORM, INVALID))
            if isinstance(error, MissingRequiredClaimError):
                reason = OF_CLAIM.get(error.claim, reason)
        raise unauthorized(reason, detail)

    def verified(self, token: str, key: PyJWK) -> dict[str, Any]:
        """Return the claims of a token that this key signed, for us, as an access token (RFC 8725, 3.11)."""
        whole = self.jwt.decode_complete(
            token, key, audience=self.audience, issuer=self.issuer, leeway=self.leeway
        )
        kind = whole["header"].get("typ", "jwt")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
            raise unauthorized(TYPE, INVALID)
        claims: dict[str, Any] = whole["payload"]
        return claims

    def name(self, claim: object) -> str:
        """Return the claim as a user id."""
        user = str(claim) if isinstance(claim, str | int) and not isinstance(claim, bool) else ""
        if not USER.fullmatch(user):
            raise unauthorized(CLAIM, "The token names no user", f" in its claim {self.claim}")
        return user


def unauthorized(reason: str, detail: str, more: str = "") -> Refused:
    """Make the 401 for a token that was sent (RFC 6750, section 3); `more` may not fit into a header."""
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    return Refused(reason, 401, detail + more, {"WWW-Authenticate": challenge})
