"""Bearer authentication (RFC 6750)."""

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from app.identity import MISSING, Refused


class Bearer(SecurityBase):
    """The security scheme of every task endpoint."""

    model = HTTPBearer(
        bearerFormat="JWT", description="A JSON Web Token whose user claim equals {user_id} in the path."
    )
    scheme_name = "bearer"

    async def __call__(self, request: Request) -> str:
        """Return the user id in the token. Raise Refused if there is no token or it is not valid."""
        try:
            return await _user(request)
        except Refused as refused:
            request.state.refused = refused.reason  # for the log and the metrics
            raise


async def _user(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(MISSING, 401, "A bearer token is needed", {"WWW-Authenticate": "Bearer"})
    user: str = await request.state.tokens.user(token.strip())
    return user
