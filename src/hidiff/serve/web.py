"""The ASGI application: page, JSON API and nnInteractive's protocol behind the guard."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hidiff._version import __version__
from hidiff.serve.api import PREFIX, api_routes
from hidiff.serve.guard import Guard
from hidiff.serve.nninteractive import nninteractive_routes
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.service import Service
from hidiff.serve.store import describe

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
ABOUT = (
    "Segment medical images and correct the masks. For research, not a medical device. Errors are "
    'one line: {"detail": ...}.'
)

log = logging.getLogger("hidiff.serve")


def make_app(service: Service) -> Guard:
    """Return the whole application."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.end()

    app = FastAPI(
        title="HiDiff",
        version=__version__,
        description=ABOUT,
        # the pages that FastAPI makes of it load scripts from the network
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        lifespan=life,
    )
    app.state.service = service
    app.include_router(api_routes(service))
    app.include_router(nninteractive_routes(service))
    _add_page(app, service)
    _add_errors(app)
    return Guard(app, service.settings)


def _add_page(app: FastAPI, service: Service) -> None:
    files = {file.name: file for file in PAGE.iterdir() if file.suffix in KINDS}

    def send(name: str) -> FileResponse:
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(files[name], media_type=KINDS[files[name].suffix], headers=headers)

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return send("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    def page_file(name: str) -> FileResponse:
        if name not in files:
            raise Refusal(404, "the page has no such file.")
        if name == "main.js":
            service.page_was_sent.set()
        return send(name)


def _add_errors(app: FastAPI) -> None:
    """Answer every error with one line; what only we can mend is logged without its message."""

    def answer(status: int, line: str) -> JSONResponse:
        return JSONResponse({"detail": line}, status, headers={"Cache-Control": "no-store"})

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return answer(error.status, one_line(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        response = answer(error.status_code, one_line(str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return answer(422, one_line(f"{place}: {first['msg']}" if place else first["msg"]))

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> JSONResponse:
        return answer(400, "the request ended in the middle of its body. Send it again.")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s failed: %s", request.method, describe(error))
        return answer(500, f"an error of the server ({type(error).__name__}). Nothing is lost.")
