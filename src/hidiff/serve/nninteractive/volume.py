"""The image of one client of nnInteractive's protocol, its session, and what the client holds."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Shaped

from hidiff.serve.refusal import Refusal

if TYPE_CHECKING:
    from hidiff.correction import Session
    from hidiff.experiment import Model

BUFFER_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
COLOUR = 3
CLICK_RADIUS = 3.0  # pixels: a click of the clients is a small ball

Box = Sequence[tuple[int, int]]


class ClientVolume:
    """One class of one image, as the protocol has it: a binary mask on the image's own axes.

    The first axis counts slices, as both clients send arrays in numpy's order (k, j, i). The client
    keeps a copy of the mask; `sent` is that copy, so that every answer is what it lacks.
    """

    def __init__(
        self,
        model: "Model",
        image: Shaped[np.ndarray, "c d h w"],
        spacing: Sequence[float] | None,
        label: str,
        cache_mb: int,
    ):
        self.model, self.label = model, label
        self.shape = image.shape[1:]
        self._given = _as_model_takes_it(image, model.channels)
        self._options: dict[str, Any] = {}
        self._cache_mb = cache_mb
        if self.shape[0] > 1:
            self._options["spacing_mm"] = _check_spacing(spacing)
        self.base: Session = self._correct()
        self.session = self.base
        self.dtype = np.dtype(np.uint8)
        self.sent = np.zeros(self.shape, dtype=bool)
        self.waiting = True
        """there is something to predict that the client has not got"""

    def set_buffer(self, shape: Sequence[int], dtype: str) -> None:
        """Take the form of the client's copy of the mask, which is empty."""
        if tuple(shape) != self.shape:
            raise Refusal(
                400, f"the buffer is {tuple(shape)}, but the image is {self.shape}. Make it alike."
            )
        if dtype not in BUFFER_TYPES:
            raise Refusal(400, f"the buffer's type is none of {', '.join(BUFFER_TYPES)}.")
        self.dtype = np.dtype(dtype)
        self.sent = np.zeros(self.shape, dtype=bool)
        self.waiting = True

    def point(self, coordinates: Sequence[float], add: bool) -> None:
        """Mark a small disk in the slice of the point."""
        point = tuple(coordinates)[3 - self._num_axes :]
        if self._num_axes == 2 and not -0.5 <= coordinates[0] < 0.5:
            raise Refusal(400, "the image has one slice, number 0.")
        self.session.click(point, label=self.label, add=add, radius=CLICK_RADIUS)
        self.waiting = True

    def painted(self, crop: Shaped[np.ndarray, "x y z"], box: Box | None, add: bool) -> None:
        """Mark painted voxels; `box` says where the crop lies in the image."""
        mask = np.zeros(self.shape, dtype=bool)
        place = self._place(crop.shape, box)
        mask[place] = crop > 0
        if not mask.any():
            raise Refusal(400, "nothing is painted.")
        for each in self._strokes(mask):
            self.session.stroke(each, label=self.label, add=add)
        self.waiting = True

    def begin_from(self, mask: Shaped[np.ndarray, "x y z"]) -> int:
        """Start from the client's mask in place of the automatic one; an empty one changes nothing.

        Return the slice that holds most of it. The client has put the mask into its copy already.
        """
        if mask.shape != self.shape:
            raise Refusal(400, f"the mask is {mask.shape}, but the image is {self.shape}.")
        marked = mask > 0
        self.session = self.base
        if marked.any():
            names = self.model.labels.plane_names
            value = 1 if self.model.labels.kind == "one_class" else names.index(self.label)
            labels = marked.astype(np.uint8) * np.uint8(value)
            given = labels[0] if self._num_axes == 2 else labels
            self.session = self._correct(mask=given)
        self.sent = marked
        self.waiting = True
        return int(marked.sum(axis=(1, 2)).argmax())

    def reset(self) -> None:
        """Take every mark back; the client has emptied its copy."""
        self.session = self.base
        while self.session.can_undo:
            self.session.undo()
        self.sent = np.zeros(self.shape, dtype=bool)
        self.waiting = True

    def undo(self) -> bool:
        """Take the last mark back; return whether there was one."""
        if not self.session.can_undo:
            return False
        self.session.undo()
        return True

    def predict(self) -> tuple[Box | None, np.ndarray | None]:
        """Return the box in which the mask differs from the client's copy, and the mask there."""
        self.waiting = False
        mask = self._mask()
        differs = mask != self.sent
        if not differs.any():
            return None, None
        box = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            places = np.flatnonzero(differs.any(axis=others))
            box.append((int(places[0]), int(places[-1]) + 1))
        part = mask[tuple(slice(*ends) for ends in box)].astype(self.dtype)
        self.sent = mask
        return box, part

    @property
    def _num_axes(self) -> int:
        return 3 if self.shape[0] > 1 else 2

    def _correct(self, **options: Any) -> "Session":
        session = self.model.correct(self._given, **self._options, **options)
        session.limit_cache(self._cache_mb)
        return session

    def _mask(self) -> Bool[np.ndarray, "x y z"]:
        masks = self.model.labels.class_masks(self.session.labels)
        return np.asarray(masks[self.label]).reshape(self.shape)

    def _strokes(self, mask: Bool[np.ndarray, "x y z"]) -> list[np.ndarray]:
        """Return painted voxels as the session takes them."""
        return [mask[0] if self._num_axes == 2 else mask]

    def _place(self, shape: tuple[int, ...], box: Box | None) -> tuple[slice, ...]:
        ends = [(0, side) for side in self.shape] if box is None else box
        fits = len(ends) == 3 and all(
            0 <= low < high <= side for (low, high), side in zip(ends, self.shape, strict=True)
        )
        if not fits or tuple(high - low for low, high in ends) != shape:
            raise Refusal(
                400, f"the painted crop is {shape} at {box}, which does not lie in {self.shape}."
            )
        return tuple(slice(low, high) for low, high in ends)


def _as_model_takes_it(
    image: Shaped[np.ndarray, "c d h w"], channels: int
) -> Shaped[np.ndarray, "..."]:
    """Return the array with its channels last, as `Model.correct` takes arrays."""
    came = len(image)
    if came == 1 and channels == COLOUR and image.shape[1] == 1:
        image = np.repeat(image, COLOUR, axis=0)
    elif came != channels:
        raise Refusal(
            400, f"the image has {came} channels, but the model was trained on {channels}."
        )
    last = np.moveaxis(image, 0, -1)
    return last[0] if image.shape[1] == 1 else last


def _check_spacing(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    sides = tuple(float(each) for each in spacing or (1, 1, 1))
    if len(sides) != 3 or not all(math.isfinite(each) and each > 0 for each in sides):
        raise Refusal(400, "image_properties.spacing is no three lengths above 0.")
    return sides  # pyright: ignore[reportReturnType] (of length three, as checked)
