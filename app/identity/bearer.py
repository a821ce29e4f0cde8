"""A bearer token says who calls (RFC 6750)."""

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from app.problems import Problem


class Bearer(SecurityBase):
    """The security scheme of every task endpoint."""

    model = HTTPBearer(
        bearerFormat="JWT", description="A JSON Web Token whose user claim is the {user_id} of the path."
    )
    scheme_name = "bearer"

    async def __call__(self, request: Request) -> str:
        """Return the user whom the token names; raise Problem 401 for none."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "A bearer token is needed", {"WWW-Authenticate": "Bearer"})
        user: str = await request.state.tokens.user(token.strip())
        return user
