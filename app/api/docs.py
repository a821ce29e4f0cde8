"""The documentation page: Swagger UI's own files from a package, so that nothing foreign is loaded."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.problems import Problem

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
FOLDER = files("fastapi_offline") / "static"

SCRIPT = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null})'
PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasks</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>{SCRIPT}</script>
"""
DIGEST = b64encode(sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{DIGEST}'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def file(request: Request) -> Response:
    """Answer one of its files."""
    if (name := request.path_params["name"]) not in FILES:
        raise Problem(404, "Path not found")
    return FileResponse(str(FOLDER / name))


routes = [
    Route("/", RedirectResponse("docs"), methods=["GET"]),  # for a person who has only the API's address
    Route("/docs", HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY}), methods=["GET"]),
    Route("/docs/{name}", file),
]
