"""Authentication: verifies bearer tokens. It does not use the database."""

from enum import StrEnum

from app.problems import Problem


class Reason(StrEnum):
    """Why a token is refused, as the log and the metrics name it."""

    MISSING = "missing"  # no token was sent
    FORM = "form"  # not a JWT, or a header parameter or claim has the wrong type
    ALGORITHM = "algorithm"  # not one that JWT_ALGORITHMS, JWT_SECRET and JWT_JWKS_URL allow
    KEY = "key"  # the issuer does not publish this key
    UNKNOWN_YET = "key unknown yet"  # the issuer may have published it since the last fetch: 503, not 401
    SIGNATURE = "signature"
    TYPE = "type"  # not an access token
    EXPIRED = "expired"
    EARLY = "not valid yet"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIM = "claim"  # exp or the user claim is missing, or the user claim is not a valid user id


class Refused(Problem):
    """The response for a refused token, and the reason for the log. Neither repeats any part of the token."""

    def __init__(self, reason: Reason, status: int, detail: str, headers: dict[str, str]) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason
