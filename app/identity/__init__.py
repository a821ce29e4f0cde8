"""Who calls: verifies tokens, knows no database."""

from app.problems import Problem

# Why a token is refused, as the log and the metrics say it.
MISSING = "missing"  # no token was sent
FORM = "form"  # not a JWT, or a member of it is not of its type
ALGORITHM = "algorithm"  # none that JWT_ALGORITHMS, JWT_SECRET and JWT_JWKS_URL allow
KEY = "key"  # the issuer publishes no such key
UNKNOWN_YET = "key unknown yet"  # or perhaps does since the keys were fetched: 503, not 401
SIGNATURE = "signature"
TYPE = "type"  # not an access token
EXPIRED = "expired"
EARLY = "not valid yet"
ISSUER = "issuer"
AUDIENCE = "audience"
CLAIM = "claim"  # exp or the user's is missing, or no user's id
REASONS = (
    *(MISSING, FORM, ALGORITHM, KEY, UNKNOWN_YET, SIGNATURE),
    *(TYPE, EXPIRED, EARLY, ISSUER, AUDIENCE, CLAIM),
)


class Refused(Problem):
    """The response to a request whose token is not accepted, and the reason, which repeats nothing of it."""

    def __init__(self, reason: str, status: int, detail: str, headers: dict[str, str]) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason
