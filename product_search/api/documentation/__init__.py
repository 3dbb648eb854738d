"""`/docs`: Swagger UI over the service's OpenAPI, of files that are served from here."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

PATH = "/docs"

_HERE = Path(__file__).parent
_SWAGGER = Path(str(resources.files("fastapi_swagger.resources")))
_FILES = {
    "swagger-ui-bundle.js": (_SWAGGER, "text/javascript"),
    "swagger-ui.css": (_SWAGGER, "text/css"),
    "favicon-32x32.png": (_SWAGGER, "image/png"),
    "start.js": (_HERE, "text/javascript"),
    "swagger-ui-bundle.js.LICENSE.txt": (_HERE, "text/plain"),
    "swagger-ui.LICENSE.txt": (_HERE, "text/plain"),
}
# The page's own files and this API alone; Swagger UI writes styles into its page.
_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Serve the documentation. The app itself is to have no `docs_url`: FastAPI's needs a CDN."""
    app.add_route(PATH, documentation, include_in_schema=False)
    app.add_route(f"{PATH}/{{file}}", documentation_file, include_in_schema=False)


async def documentation(_request: Request) -> Response:
    """Return the page."""
    return FileResponse(
        _HERE / "page.html",
        media_type="text/html",
        headers={"Content-Security-Policy": _CONTENT, "Cache-Control": "no-cache"},
    )


async def documentation_file(request: Request) -> Response:
    """Return a file of the page's."""
    name = request.path_params["file"]
    if name not in _FILES:
        raise HTTPException(404)
    folder, media_type = _FILES[name]
    return FileResponse(
        folder / name, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"}
    )
