"""The documentation page: Swagger UI from a Python package, so that no file is loaded from a CDN."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.problems import Problem

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
FOLDER = files("fastapi_offline") / "static"
CACHED = {"Cache-Control": "public, max-age=3600"}

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


@cache
def read_file(name: str) -> tuple[bytes, str]:
    """Return the content and the media type of a file, which is read once.

    Starlette's FileResponse would read it in a thread for each request, at 4 ms of CPU, and accept any
    number of ranges in `Range`.
    """
    return (FOLDER / name).read_bytes(), guess_type(name)[0] or ""


async def get_file(request: Request) -> Response:
    """Serve one of the files. Range is ignored, which RFC 9110, section 14.2, allows."""
    if (name := request.path_params["name"]) not in FILES:
        raise Problem(404, "Path not found")
    content, media_type = read_file(name)
    return Response(content, media_type=media_type, headers=CACHED)


routes = [
    Route("/", RedirectResponse("docs"), methods=["GET"]),  # for a person who opens the URL of the API
    Route("/docs", HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY}), methods=["GET"]),
    Route("/docs/{name}", get_file),
]
