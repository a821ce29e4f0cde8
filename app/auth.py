"""A bearer token (RFC 6750, RFC 7519) says who calls; the path must say the same."""

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from jwt import PyJWT, PyJWTError
from starlette.requests import Request

from app.database import Session
from app.headers import decoded
from app.problems import Problem
from app.settings import TokenSettings

LEEWAY = 10  # seconds, for clocks that differ
LONGEST_TOKEN = 8192  # bytes
LONGEST_USER = 255  # characters


class Tokens:
    """Verifies tokens as the settings say."""

    def __init__(self, settings: TokenSettings) -> None:
        self.key = settings.jwt_secret.get_secret_value()
        self.audience = settings.jwt_audience or None
        self.issuer = settings.jwt_issuer or None
        self.claim = settings.jwt_user_claim
        self.jwt = PyJWT({
            "require": ["exp"],
            "verify_aud": self.audience is not None,
            "verify_iss": self.issuer is not None,
            "verify_sub": False,  # an integer is accepted
            "verify_jti": False,  # not used
        })  # fmt: skip

    def user(self, token: str) -> str:
        """Return the user that a valid token names; raise Problem 401 for any other."""
        if len(token) > LONGEST_TOKEN:
            raise unauthorized("The token is too long")
        try:
            claims = self.jwt.decode(
                token, self.key, ["HS256"], audience=self.audience, issuer=self.issuer, leeway=LEEWAY
            )
        except (PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError):
            raise unauthorized("The token is invalid or has expired") from None
        return self.name(claims.get(self.claim))

    def name(self, claim: object) -> str:
        """Return the claim as a user id, which PostgreSQL must be able to hold."""
        user = str(claim) if isinstance(claim, str | int) and not isinstance(claim, bool) else ""
        if not 0 < len(user) <= LONGEST_USER or "\0" in user or any("\ud800" <= c <= "\udfff" for c in user):
            raise unauthorized(f"The token's claim {self.claim} names no user")
        return user


class Bearer(SecurityBase):
    """The dependency of every task endpoint: a session of the user whom both token and path name."""

    model = HTTPBearer(
        bearerFormat="JWT", description="A JSON Web Token whose user claim is the {user_id} of the path."
    )
    scheme_name = "bearer"

    async def __call__(self, request: Request) -> Session:
        """Verify the token, then the path: before the body is read and the database is asked."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "A bearer token is needed", {"WWW-Authenticate": "Bearer"})
        user = request.state.tokens.user(token.strip())
        if user != decoded(request.path_params["user_id"]):
            raise Problem(403, "Not authorized to access this user's tasks")
        return Session(request.state.database, user, request.receive)


def unauthorized(detail: str) -> Problem:
    """Make the 401 for a token that was sent (RFC 6750, section 3)."""
    return Problem(401, detail, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
