"""Routes that correct a client's mask; each answers with the box that changed.

Marks take their turn with those of the server's own page; predictions of whole volumes do not.
"""

from fastapi import APIRouter, Request, Response

from hidiff.serve.nninteractive.answers import facts, prediction
from hidiff.serve.nninteractive.clients import Clients, Token, meta_of
from hidiff.serve.nninteractive.leases import Lease
from hidiff.serve.nninteractive.packing import unpack
from hidiff.serve.nninteractive.schema import Painted, Point
from hidiff.serve.refusal import Refusal


def mark_routes(clients: Clients) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    in_turn = clients.service.marks.run

    @router.post("/add_point_interaction")
    async def add_point(request: Request, body: Point, token: Token = None) -> Response:
        """Mark a click."""

        def task(lease: Lease) -> Response:
            image = lease.image()
            in_turn(lambda: image.point(body.coordinates, body.include_interaction))
            return prediction(image, body.run_prediction)

        return await clients.act(request, token, task)

    @router.post("/add_scribble_interaction")
    async def add_scribble(request: Request, token: Token = None) -> Response:
        """Mark painted voxels."""
        meta = meta_of(request, Painted)
        content = await request.body()

        def task(lease: Lease) -> Response:
            painted, image = unpack(content, clients.most_bytes), lease.image()
            in_turn(lambda: image.painted(painted, meta.interaction_bbox, meta.include_interaction))
            return prediction(image, meta.run_prediction)

        return await clients.act(request, token, task)

    @router.post("/add_bbox_interaction")
    @router.post("/add_lasso_interaction")
    async def refuse(request: Request, token: Token = None) -> Response:
        """Refuse boxes and lassos, which /capabilities does not offer."""
        clients.find(request, token)
        raise Refusal(400, "boxes and lassos mean nothing to this model. Click or scribble.")

    @router.post("/predict")
    async def predict(request: Request, token: Token = None) -> Response:
        """Return what the marks since the last prediction have changed."""

        def task(lease: Lease) -> Response:
            return prediction(lease.image(), lease.image().waiting)

        return await clients.act(request, token, task)

    @router.post("/undo")
    async def undo(request: Request, token: Token = None) -> Response:
        """Take the last mark back."""

        def task(lease: Lease) -> Response:
            image = lease.image()
            return prediction(image, in_turn(image.undo))

        return await clients.act(request, token, task)

    @router.post("/reset_interactions")
    async def reset(request: Request, token: Token = None) -> Response:
        """Take every mark back."""

        def task(lease: Lease) -> Response:
            lease.image().reset()
            return facts()

        return await clients.act(request, token, task)

    return router
