"""Images of any size through a function of one window: overlapping tiles in, blended maps out.

The maps equal, bit for bit, those of MONAI's sliding_window_inference (mode "gaussian", padding
"replicate"), and a test compares them. Importing MONAI takes longer than a whole prediction, so
prediction does without it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

SIGMA = 1 / 8  # of the Gaussian, as a share of the window's side
LEAST_WEIGHT = 1e-3  # of a tile's corner, so that no pixel is divided by nothing


class Tile(NamedTuple):
    """The image that a tile was cut from, and where its first pixel lies in it.

    Rows and columns are below 0 where the tile begins in the padding.
    """

    image: int
    top: int
    left: int


Predict = Callable[[Tensor, list[Tile]], dict[str, Tensor]]
"""tiles (b c h w) and where they lie -> maps (b _ h w) by name"""


def predict_tiles(
    predict: Predict,
    images: Float[Tensor, "b c h w"],
    window: tuple[int, int],
    *,
    overlap: float,
    batch_size: int,
    device: torch.device,
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Return the maps of whole images, on the CPU, from what `predict` gives for their tiles.

    `overlap` is the share of a window that its neighbour sees too (0 to 1, not 1). Where tiles
    overlap their maps are averaged, each with a Gaussian weight that is largest in its middle.
    Images smaller than the window are padded on both sides by repeating their rim, and cropped
    again. `predict` runs on `device`, on at most `batch_size` tiles at once.
    """
    (height, width), (rows, columns) = images.shape[2:], window
    above, before = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    padded = _pad(images, window, above, before)
    corners = list(_corners(padded.shape[2:], window, overlap))
    tiles = [Tile(number, *corner) for number in range(len(images)) for corner in corners]
    weight = tile_weight(window, device)

    sums: dict[str, Tensor] = {}
    for first in range(0, len(tiles), batch_size):
        batch = tiles[first : first + batch_size]
        cut = torch.cat([padded[number : number + 1, :, top : top + rows, left : left + columns]
                         for number, top, left in batch])  # fmt: skip
        maps = predict(
            cut.to(device),
            [Tile(number, top - above, left - before) for number, top, left in batch],
        )
        for name, values in maps.items():
            if name not in sums:
                shape = (len(images), values.shape[1], *padded.shape[2:])
                sums[name] = torch.zeros(shape, dtype=images.dtype)
            for (number, top, left), value in zip(batch, (values * weight).cpu(), strict=True):
                sums[name][number, :, top : top + rows, left : left + columns] += value

    total = torch.zeros(padded.shape[2:], dtype=images.dtype)
    for top, left in corners:
        total[top : top + rows, left : left + columns] += weight.cpu()
    inside = (..., slice(above, above + height), slice(before, before + width))
    return {name: (values / total)[inside] for name, values in sums.items()}


def tile_weight(window: tuple[int, int], device: torch.device) -> Float[Tensor, "h w"]:
    """Return what each pixel of a tile counts: a Gaussian around its middle, never below 0.001."""
    rows, columns = (_gaussian(side, device) for side in window)
    return (rows[:, None] * columns).clamp(min=LEAST_WEIGHT)


def tile_starts(side: int, window: int, overlap: float) -> list[int]:
    """Return where tiles begin along a side that is no shorter than the window.

    They are evenly spaced, but for the last one, which ends where the side does.
    """
    step = max(int(window * (1 - overlap)), 1)
    count = math.ceil((side - window) / step) + 1
    return [min(number * step, side - window) for number in range(count)]


def _corners(
    size: Sequence[int], window: tuple[int, int], overlap: float
) -> Iterator[tuple[int, int]]:
    """Yield the top and left of every tile, row by row."""
    tops, lefts = (tile_starts(*sides, overlap) for sides in zip(size, window, strict=True))
    for top in tops:
        for left in lefts:
            yield top, left


def _pad(
    images: Float[Tensor, "b c h w"], window: tuple[int, int], above: int, before: int
) -> Float[Tensor, "b c H W"]:
    """Repeat the rim of images that are smaller than the window."""
    height, width = images.shape[2:]
    below, after = max(window[0] - height, 0) - above, max(window[1] - width, 0) - before
    if not any((above, below, before, after)):
        return images
    return pad(images, (before, after, above, below), mode="replicate")


def _gaussian(side: int, device: torch.device) -> Float[Tensor, "side"]:
    distance = torch.arange(-(side - 1) / 2, (side - 1) / 2 + 1, device=device)
    return torch.exp(distance**2 / (-2 * (side * SIGMA) ** 2))
