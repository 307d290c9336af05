"""The part of a window that a correction refines: what is within reach of marks, and a margin."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from hidiff.prediction.seen import Seen
from hidiff.prediction.windows import MIRRORS, Corner
from hidiff.refiner.unet import MIN_SIZE, STRIDE

MARGIN = 32  # pixels around the reach that the refiner sees too
WORTH = 0.75  # share of a window; larger crops are not worth another result


class ReachCrop(NamedTuple):
    """Rows and columns of a window, from multiples of 32 to multiples of 32."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, values: Tensor) -> Tensor:
        """Return the crop of maps at a window's size."""
        return values[..., self.top : self.bottom, self.left : self.right]

    def cut_seen(self, seen: Seen) -> Seen:
        """Return the crop of a window and of the refiner's work on it, which has other strides."""
        height, width = seen.image.shape[2:]
        if self == (0, height, 0, width):
            return seen

        def cut(values: Tensor) -> Tensor:
            stride = height // values.shape[2]
            part = ReachCrop(*(side // stride for side in self)).cut(values)
            return part.contiguous(memory_format=torch.channels_last)

        prepared = tuple(tuple(cut(each) for each in part) for part in seen.prepared)
        return Seen(cut(seen.image), cut(seen.prior), prepared)

    def place(self, corner: Corner, window: tuple[int, int], mirror: int) -> Corner:
        """Return where the crop of a mirrored window begins in the image."""
        name, top, left = corner
        height, width = window
        rows = height - self.bottom if 2 in MIRRORS[mirror] else self.top
        columns = width - self.right if 3 in MIRRORS[mirror] else self.left
        return name, top + rows, left + columns


def crops_around(reach: Bool[Tensor, "b 1 h w"]) -> Iterator[ReachCrop]:
    """Yield the part of each window to refine: around the reach, or the whole window.

    The refiner sees less around a crop, so its answer is another one; a larger share than WORTH of
    a window is therefore refined whole.
    """
    height, width = reach.shape[2:]
    for window in reach[:, 0]:
        top, bottom = _stretch(window.any(dim=1))
        left, right = _stretch(window.any(dim=0))
        if (bottom - top) * (right - left) > WORTH * height * width:
            yield ReachCrop(0, height, 0, width)
        else:
            yield ReachCrop(top, bottom, left, right)


def _stretch(marked: Bool[Tensor, "n"]) -> tuple[int, int]:
    """Return the first and the last of the strides around the marked places, with a margin."""
    side, places = len(marked), marked.nonzero()
    first, last = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
    start = max(first - MARGIN, 0) // STRIDE * STRIDE
    stop = min(-(-(last + MARGIN) // STRIDE) * STRIDE, side)
    missing = max(min(MIN_SIZE, side) - (stop - start), 0)
    start = max(start - missing, 0)
    return start, max(stop, min(start + MIN_SIZE, side))
