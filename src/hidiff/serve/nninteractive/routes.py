"""The routes of nnInteractive's protocol, joined."""

from fastapi import APIRouter

from hidiff.serve.nninteractive.clients import Clients
from hidiff.serve.nninteractive.image_routes import image_routes
from hidiff.serve.nninteractive.lease_routes import lease_routes
from hidiff.serve.nninteractive.mark_routes import mark_routes
from hidiff.serve.service import Service


def nninteractive_routes(service: Service) -> APIRouter:
    """Return every route of the protocol; every client works on the server's default model."""
    router = APIRouter(tags=["nnInteractive"])
    clients = Clients(service)
    for routes in (lease_routes, image_routes, mark_routes):
        router.include_router(routes(clients))
    return router
