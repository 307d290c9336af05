"""The routes of nnInteractive's protocol."""

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from hidiff.models import read_head
from hidiff.serve.api.access import owner_of
from hidiff.serve.nninteractive.leases import Lease, Leases
from hidiff.serve.nninteractive.packing import pack, unpack
from hidiff.serve.nninteractive.schema import (
    CAPABILITIES,
    Buffer,
    ImageMeta,
    Painted,
    Point,
    Seed,
)
from hidiff.serve.nninteractive.volume import ClientVolume
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.service import Service

M = TypeVar("M", bound=BaseModel)

META = "X-Meta"
ARRAY = "application/octet-stream"

Token = Annotated[str | None, Header(alias="X-Lease-Token", max_length=200)]


def nninteractive_routes(service: Service) -> APIRouter:
    """Return the routes; every client works on the server's default model."""
    router = APIRouter(tags=["nnInteractive"])
    leases = Leases(service.settings.max_sessions)
    service.sweepers.append(leases.sweep)
    most_bytes = service.settings.max_unpacked_bytes

    def find(request: Request, token: str | None, acts: bool = True) -> Lease:
        return leases.get(token, owner_of(request), acts)

    async def act(
        request: Request, token: str | None, task: Callable[[Lease], Response]
    ) -> Response:
        lease = find(request, token)

        def run() -> Response:
            with lease.lock:
                try:
                    return task(lease)
                except (ValueError, OSError) as error:
                    raise Refusal(400, one_line(error)) from error

        return await run_in_threadpool(run)

    @router.get("/healthz")
    def healthz() -> dict:
        """Return that the server is there."""
        return {"ok": True}

    @router.post("/claim")
    def claim(request: Request) -> dict:
        """Give a client a lease."""
        label_of(service)
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
        find(request, token)
        return CAPABILITIES

    @router.post("/set_image")
    async def set_image(request: Request, token: Token = None) -> Response:
        """Take an image (c, d, h, w) and segment it."""
        meta = meta_of(request, ImageMeta)
        content = await request.body()

        def task(lease: Lease) -> Response:
            array = unpack(content, most_bytes)
            if array.ndim != 4:
                raise Refusal(400, f"the image has {array.ndim} axes, but (c, x, y, z) is wanted.")
            model = service.offered.get(service.offered.default)
            label = label_of(service)
            lease.volume = ClientVolume(model, array, meta.image_properties.spacing, label)
            return Response(
                json.dumps({"original_image_shape": list(array.shape)}),
                media_type="application/json",
            )

        return await act(request, token, task)

    @router.post("/set_target_buffer")
    async def set_target_buffer(request: Request, body: Buffer, token: Token = None) -> Response:
        """Take the form of the client's mask."""

        def task(lease: Lease) -> Response:
            lease.image().set_buffer(body.shape, body.dtype)
            return nothing()

        return await act(request, token, task)

    @router.post("/set_do_autozoom")
    async def set_do_autozoom(request: Request, token: Token = None) -> Response:
        """Do nothing: images are looked at whole."""
        return await act(request, token, lambda lease: nothing())

    @router.post("/add_point_interaction")
    async def add_point(request: Request, body: Point, token: Token = None) -> Response:
        """Mark a click."""

        def task(lease: Lease) -> Response:
            lease.image().point(body.coordinates, body.include_interaction)
            return prediction(lease.image(), body.run_prediction)

        return await act(request, token, task)

    @router.post("/add_scribble_interaction")
    async def add_scribble(request: Request, token: Token = None) -> Response:
        """Mark painted voxels."""
        meta = meta_of(request, Painted)
        content = await request.body()

        def task(lease: Lease) -> Response:
            painted = unpack(content, most_bytes)
            lease.image().painted(painted, meta.interaction_bbox, meta.include_interaction)
            return prediction(lease.image(), meta.run_prediction)

        return await act(request, token, task)

    @router.post("/add_bbox_interaction")
    @router.post("/add_lasso_interaction")
    async def refuse(request: Request, token: Token = None) -> Response:
        """Refuse boxes and lassos, which /capabilities does not offer."""
        find(request, token)
        raise Refusal(400, "boxes and lassos mean nothing to this model. Click or scribble.")

    @router.post("/add_initial_seg_interaction")
    async def add_initial_seg(request: Request, token: Token = None) -> Response:
        """Start from a mask of the client's."""
        meta = meta_of(request, Seed)
        content = await request.body()

        def task(lease: Lease) -> Response:
            lease.image().begin_from(unpack(content, most_bytes))
            return prediction(lease.image(), meta.run_prediction)

        return await act(request, token, task)

    @router.post("/predict")
    async def predict(request: Request, token: Token = None) -> Response:
        """Return what the marks since the last prediction have changed."""
        return await act(
            request, token, lambda lease: prediction(lease.image(), lease.image().waiting)
        )

    @router.post("/undo")
    async def undo(request: Request, token: Token = None) -> Response:
        """Take the last mark back."""
        return await act(
            request, token, lambda lease: prediction(lease.image(), lease.image().undo())
        )

    @router.post("/reset_interactions")
    async def reset(request: Request, token: Token = None) -> Response:
        """Take every mark back."""

        def task(lease: Lease) -> Response:
            lease.image().reset()
            return nothing()

        return await act(request, token, task)

    @router.post("/heartbeat")
    def heartbeat(request: Request, token: Token = None) -> dict:
        """Note that the client is alive."""
        return {"remaining_seconds": leases.remaining(find(request, token, acts=False))}

    @router.get("/lease_status")
    def lease_status(request: Request, token: Token = None) -> dict:
        """Return how long the lease lasts without an action."""
        lease = find(request, token, acts=False)
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


def label_of(service: Service) -> str:
    """Return the class that marks mean. Raises Refusal with the names if nobody chose one."""
    classes = read_head(service.offered.path_of(service.offered.default)).class_names
    label = service.settings.label
    if label is None and len(classes) == 1:
        return classes[0]
    if label is None or label not in classes:
        names = ", ".join(classes)
        raise Refusal(
            400,
            f"the model has the classes {names}. Start the server with --label and one of them.",
        )
    return label


def meta_of(request: Request, model: type[M]) -> M:
    """Return the contents of the X-Meta header."""
    try:
        return model.model_validate_json(request.headers.get(META, "{}"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refusal(422, f"{META}: {place} {first['msg']}") from error


def prediction(volume: ClientVolume, runs: bool) -> Response:
    """Return the box that changed, in the protocol's form."""
    meta: dict[str, Any] = {"ran_prediction": runs, "bbox": None, "dtype": None, "shape": None}
    body = b""
    if runs:
        box, part = volume.predict()
        if part is not None:
            meta |= {"bbox": box, "dtype": part.dtype.name, "shape": list(part.shape)}
            body = pack(part)
    return Response(body, media_type=ARRAY, headers={META: json.dumps(meta)})


def nothing() -> Response:
    """Return an empty answer."""
    return Response("{}", media_type="application/json")
