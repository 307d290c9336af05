"""Routes of a lease: claim, keep and release it; and what the server is able to do."""

from fastapi import APIRouter, Request

from hidiff.serve.api.access import owner_of
from hidiff.serve.nninteractive.clients import Clients, Token
from hidiff.serve.nninteractive.schema import CAPABILITIES


def lease_routes(clients: Clients) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    leases = clients.leases

    @router.get("/healthz")
    def healthz() -> dict:
        """Return that the server is there."""
        return {"ok": True}

    @router.post("/claim")
    def claim(request: Request) -> dict:
        """Give a client a lease."""
        clients.label()
        lease = leases.claim(owner_of(request))
        return {
            "lease_token": lease.token,
            "idle_timeout_seconds": leases.idle_seconds,
            "liveness_timeout_seconds": leases.liveness_seconds,
            "max_sessions": leases.most,
        }

    @router.get("/capabilities")
    def capabilities(request: Request, token: Token = None) -> dict:
        """Return which prompts the model takes."""
        clients.find(request, token)
        return CAPABILITIES

    @router.post("/heartbeat")
    def heartbeat(request: Request, token: Token = None) -> dict:
        """Note that the client is alive."""
        return {"remaining_seconds": leases.remaining(clients.find(request, token, acts=False))}

    @router.get("/lease_status")
    def lease_status(request: Request, token: Token = None) -> dict:
        """Return how long the lease lasts without an action."""
        lease = clients.find(request, token, acts=False)
        return {
            "remaining_seconds": leases.remaining(lease),
            "idle_timeout_seconds": leases.idle_seconds,
        }

    @router.post("/release")
    def release(request: Request, token: Token = None) -> dict:
        """End the lease."""
        leases.release(token, owner_of(request))
        return {"released": True}

    return router
