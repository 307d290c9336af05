"""The JSON API under /api/v1."""

from fastapi import APIRouter

from hidiff.serve.api.about import about_routes
from hidiff.serve.api.corrections import correction_routes
from hidiff.serve.api.schema import Detail
from hidiff.serve.api.sessions import session_routes
from hidiff.serve.api.slices import slice_routes
from hidiff.serve.service import Service

PREFIX = "/api/v1"
REFUSALS = (400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


def api_routes(service: Service) -> APIRouter:
    """Return every route of the JSON API."""
    # As a schema, not as a model: FastAPI would build one for each status of each route, which
    # takes a fifth of the time until the page is there.
    content = {"application/json": {"schema": Detail.model_json_schema()}}
    refused = {"description": "refused", "content": content}
    router = APIRouter(prefix=PREFIX, responses={status: refused for status in REFUSALS})
    router.include_router(about_routes(service))
    router.include_router(session_routes(service))
    router.include_router(slice_routes())
    router.include_router(correction_routes(service))
    return router


__all__ = ["PREFIX", "api_routes"]
