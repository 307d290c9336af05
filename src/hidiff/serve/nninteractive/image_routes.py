"""Routes of a client's image: the image itself, the client's buffer, and a mask to start from."""

from fastapi import APIRouter, Request, Response

from hidiff.serve.nninteractive.answers import facts, prediction
from hidiff.serve.nninteractive.clients import Clients, Token, meta_of
from hidiff.serve.nninteractive.leases import Lease
from hidiff.serve.nninteractive.packing import unpack
from hidiff.serve.nninteractive.schema import Buffer, ImageMeta, Seed
from hidiff.serve.nninteractive.volume import ClientVolume
from hidiff.serve.refusal import Refusal


def image_routes(clients: Clients) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    offered = clients.service.offered
    cache_mb = clients.service.settings.cache_mb_each

    @router.post("/set_image")
    async def set_image(request: Request, token: Token = None) -> Response:
        """Take an image (c, d, h, w) and segment it."""
        meta = meta_of(request, ImageMeta)
        content = await request.body()

        def task(lease: Lease) -> Response:
            array = unpack(content, clients.most_bytes)
            if array.ndim != 4:
                raise Refusal(400, f"the image has {array.ndim} axes, but (c, x, y, z) is wanted.")
            model, spacing = offered.get(offered.default), meta.image_properties.spacing
            lease.volume = ClientVolume(model, array, spacing, clients.label(), cache_mb)
            return facts(original_image_shape=list(array.shape))

        return await clients.act(request, token, task)

    @router.post("/set_target_buffer")
    async def set_target_buffer(request: Request, body: Buffer, token: Token = None) -> Response:
        """Take the form of the client's mask."""

        def task(lease: Lease) -> Response:
            lease.image().set_buffer(body.shape, body.dtype)
            return facts()

        return await clients.act(request, token, task)

    @router.post("/set_do_autozoom")
    async def set_do_autozoom(request: Request, token: Token = None) -> Response:
        """Do nothing: images are looked at whole."""
        return await clients.act(request, token, lambda lease: facts())

    @router.post("/add_initial_seg_interaction")
    async def add_initial_seg(request: Request, token: Token = None) -> Response:
        """Start from a mask of the client's."""
        meta = meta_of(request, Seed)
        content = await request.body()

        def task(lease: Lease) -> Response:
            volume = lease.image()
            number = volume.begin_from(unpack(content, clients.most_bytes))
            clients.service.prepare_marks(volume.session, number)
            return prediction(volume, meta.run_prediction)

        return await clients.act(request, token, task)

    return router
