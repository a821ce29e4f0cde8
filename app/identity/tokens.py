"""JWT verification (RFC 7519, RFC 8725): returns the user id in a token.

A token that was verified is kept, by its SHA-256, until it expires or the keys are fetched again. This saves
the signature check of all later requests with the token. At most MAX_REMEMBERED tokens are kept.
"""

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

from app.identity import Reason, Refused
from app.identity.keys import Keys
from app.settings import TokenSettings

MAX_TOKEN_BYTES = 8192
USER = re.compile("[^\0\ud800-\udfff]{1,255}")  # the characters that PostgreSQL can store
MAX_REMEMBERED = 16384  # tokens, about 300 bytes each
# The `typ` of access tokens (RFC 7519, RFC 9068). Logout tokens and DPoP proofs, for example, have others.
TYPES = {"jwt", "at+jwt"}

INVALID = "The token is invalid or has expired"
ELSEWHERE = "The token was issued by someone else, or for another service"

# The reason and the detail for each error. PyJWT raises these only after it has verified the signature, so a
# forged token does not reveal which claims are expected.
REASONS: dict[type[Exception], tuple[Reason, str]] = {
    ExpiredSignatureError: (Reason.EXPIRED, "The token has expired; get a new one"),
    ImmatureSignatureError: (Reason.EARLY, "The token is not valid yet"),
    InvalidAudienceError: (Reason.AUDIENCE, ELSEWHERE),
    InvalidIssuerError: (Reason.ISSUER, ELSEWHERE),
    MissingRequiredClaimError: (Reason.CLAIM, "The token lacks a required claim"),
}
MISSING_CLAIM = {"aud": Reason.AUDIENCE, "iss": Reason.ISSUER}  # the reason if the claim is missing


class Tokens:
    """Verifies tokens with the keys, issuers and audiences of the settings."""

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
        """Return the user id in a valid token; raise Refused if the token is not valid."""
        if len(token) > MAX_TOKEN_BYTES:
            raise unauthorized(Reason.FORM, "The token is too long")
        digest = sha256(token.encode()).digest()
        user, until = self.keys.verified.get(digest, ("", 0.0))
        if until <= time.time():
            claims = await self.claims(token, digest)
            user = self.user_id(claims.get(self.claim))
            self.remember(digest, user, int(claims["exp"]) + self.leeway)
        return user

    def remember(self, digest: bytes, user: str, until: float) -> None:
        """Keep a verified token, and drop the oldest if there are too many.

        Only valid tokens are kept, so forged tokens cannot evict them.
        """
        verified = self.keys.verified
        if len(verified) >= MAX_REMEMBERED:
            del verified[next(iter(verified))]
        verified[digest] = user, until

    async def claims(self, token: str, digest: bytes) -> dict[str, Any]:
        """Return the claims of a valid token; raise Refused if the token is not valid."""
        reason, detail = Reason.FORM, INVALID
        try:
            # Only the header is parsed here. It selects the key, and the key determines the algorithm.
            # PyJWT parses the whole token again.
            header = get_unverified_header(token.partition(".")[0] + "..")
            algorithm, kid = header.get("alg"), header.get("kid")
            if isinstance(algorithm, str):
                keys = await self.keys.find(algorithm, kid, digest)
                for key in keys:
                    with suppress(InvalidSignatureError):
                        return self.decode(token, key)
                if keys:
                    reason = Reason.SIGNATURE
                else:
                    reason = Reason.KEY if self.keys.verifies(algorithm) else Reason.ALGORITHM
        except (PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            reason, detail = REASONS.get(type(error), (Reason.FORM, INVALID))
            if isinstance(error, MissingRequiredClaimError):
                reason = MISSING_CLAIM.get(error.claim, reason)
        raise unauthorized(reason, detail)

    def decode(self, token: str, key: PyJWK) -> dict[str, Any]:
        """Return the claims of an access token that this key signed for this audience (RFC 8725, 3.11)."""
        whole = self.jwt.decode_complete(
            token, key, audience=self.audience, issuer=self.issuer, leeway=self.leeway
        )
        kind = whole["header"].get("typ", "jwt")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
            raise unauthorized(Reason.TYPE, INVALID)
        claims: dict[str, Any] = whole["payload"]
        return claims

    def user_id(self, claim: object) -> str:
        """Return the user claim as a user id; raise Refused if it is not valid."""
        user = str(claim) if isinstance(claim, str | int) and not isinstance(claim, bool) else ""
        if not USER.fullmatch(user):
            raise unauthorized(Reason.CLAIM, "The token has no valid user id", f" in its claim {self.claim}")
        return user


def unauthorized(reason: Reason, detail: str, more: str = "") -> Refused:
    """Return the 401 for an invalid token (RFC 6750, section 3).

    `more` is added to the body only: the name of a claim may contain characters that a header cannot.
    """
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    return Refused(reason, 401, detail + more, {"WWW-Authenticate": challenge})
