"""Routes of slices: the image, labels, uncertainty, probability and locks of one."""

# Annotations made from the service at hand: FastAPI reads them as values, not as types.
# pyright: reportInvalidTypeForm=false

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from hidiff.serve import correct
from hidiff.serve.api import answers
from hidiff.serve.api.access import Found, held
from hidiff.serve.refusal import Refusal
from hidiff.serve.slices import encode_png

Number = Annotated[int, Path(ge=0, le=1_000_000, description="number of the slice, from 0")]
Value = Annotated[float | None, Query(allow_inf_nan=False, ge=-1e9, le=1e9)]
Share = Annotated[float, Query(ge=0, le=1, description="0: the prior, 1: the refined mask")]
Label = Annotated[str | None, Query(max_length=200, description="left out: the first class")]
Format = Annotated[
    Literal["png", "raw"], Query(description="raw: a byte a pixel, row by row, shape in X-Shape")
]


def slice_routes() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sessions/{id}", tags=["slices"])

    @router.get("/slices/{number}/image.png")
    def image(entry: Found, number: Number, low: Value = None, high: Value = None) -> Response:
        """Return a slice as a PNG, with `low` black and `high` white."""
        if low is not None and high is not None and not low < high:
            raise Refusal(422, "low must be below high.")
        # The image never changes, so it does not wait for slices that are being segmented.
        opened = entry.ready()
        opened.check_slice(number)
        entry.near = number
        return answers.png(opened.view.png(number, low, high))

    @router.get("/slices/{number}/labels")
    def labels(
        entry: Found, request: Request, number: Number, format: Format = "png", share: Share = 1.0
    ) -> Response:
        """Return labels: 0 the background, n the n-th class; regions: bit n - 1."""
        entry.near = number
        with held(entry) as opened:
            return _pixels(request, opened.codes(number, share), format)

    @router.get("/slices/{number}/uncertainty")
    def uncertainty(
        entry: Found, request: Request, number: Number, format: Format = "png"
    ) -> Response:
        """Return the uncertainty, 255 for the highest that there can be."""
        with held(entry) as opened:
            return _pixels(request, opened.uncertainty(number), format)

    @router.get("/slices/{number}/probability")
    def probability(
        entry: Found,
        request: Request,
        number: Number,
        label: Annotated[
            str | None, Query(max_length=200, description="left out: the first")
        ] = None,
        format: Format = "png",
        share: Share = 1.0,
    ) -> Response:
        """Return the probability of a class, 255 for 1."""
        with held(entry) as opened:
            return _pixels(request, opened.probability(number, label, share), format)

    @router.get("/slices/{number}/locked")
    def locked(entry: Found, request: Request, number: Number, format: Format = "png") -> Response:
        """Return which pixels are locked: 255, others 0."""
        with held(entry) as opened:
            return _pixels(request, opened.locked(number), format)

    @router.get("/candidates/{candidate}/slices/{number}")
    def candidate(
        entry: Found,
        request: Request,
        candidate: Annotated[int, Path(ge=0, le=100)],
        number: Number,
        format: Format = "raw",
    ) -> Response:
        """Return the labels of a candidate."""
        with held(entry) as opened:
            return _pixels(request, correct.candidate(opened, candidate, number), format)

    return router


def _pixels(request: Request, pixels, format: str) -> Response:
    if format == "png":
        return answers.png(encode_png(pixels))
    return answers.raw(request, pixels.tobytes(), pixels.shape)
