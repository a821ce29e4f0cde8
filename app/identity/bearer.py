"""Bearer authentication (RFC 6750)."""

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request
from starlette.types import Scope

from app.identity import Reason, Refused


class Bearer(SecurityBase):
    """The security scheme of every task endpoint."""

    model = HTTPBearer(
        bearerFormat="JWT", description="A JSON Web Token whose user claim equals {user_id} in the path."
    )
    scheme_name = "bearer"

    async def __call__(self, request: Request) -> str:
        """Return the token (FastAPI would run a function without `async` in a thread)."""
        return self.token(request.scope)

    def token(self, scope: Scope) -> str:
        """Return the token of the first Authorization header; raise Refused if there is none."""
        for name, value in scope["headers"]:  # Request.headers would compare each in Python
            if name == b"authorization":
                scheme, _, token = value.decode("latin-1").partition(" ")
                if scheme.lower() == "bearer" and (token := token.strip()):
                    return str(token)
                break
        raise Refused(Reason.MISSING, 401, "A bearer token is required", {"WWW-Authenticate": "Bearer"})
