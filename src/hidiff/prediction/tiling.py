"""Images of any size through a function of one window: overlapping tiles in, blended maps out.

The maps equal, bit for bit, those of MONAI's sliding_window_inference (mode "gaussian", padding
"replicate"), and a test compares them. Importing MONAI takes longer than a whole prediction, so
prediction does without it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

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


@dataclass(frozen=True)
class Tiling:
    """The tiles of images of one size; those smaller than the window are padded on both sides."""

    size: tuple[int, int]
    window: tuple[int, int]
    overlap: float
    """share of a window that its neighbour sees too (0 to 1, not 1)"""

    @property
    def offset(self) -> tuple[int, int]:
        """Rows above and columns before the image that padding adds."""
        above, before = (
            max(side - whole, 0) // 2 for side, whole in zip(self.window, self.size, strict=True)
        )
        return above, before

    @property
    def padded_size(self) -> tuple[int, int]:
        """Rows and columns after padding."""
        rows, columns = (max(sides) for sides in zip(self.size, self.window, strict=True))
        return rows, columns

    def pad(
        self, images: Float[Tensor, "b c h w"], beyond: Literal["edge", "zero"] = "edge"
    ) -> Float[Tensor, "b c H W"]:
        """Repeat the rim of images that are smaller than the window, or put zeros around them."""
        if self.padded_size == self.size:
            return images
        (above, before), (height, width) = self.offset, self.padded_size
        below, after = height - self.size[0] - above, width - self.size[1] - before
        mode = "replicate" if beyond == "edge" else "constant"
        return pad(images, (before, after, above, below), mode=mode)

    @cached_property
    def corners(self) -> list[tuple[int, int]]:
        """The top and left of every tile in the image as given, row by row; below 0 in padding."""
        above, before = self.offset
        tops, lefts = (
            tile_starts(*sides, self.overlap)
            for sides in zip(self.padded_size, self.window, strict=True)
        )
        return [(top - above, left - before) for top in tops for left in lefts]

    def cut(
        self, padded: Float[Tensor, "b c H W"], tiles: Sequence[Tile]
    ) -> Float[Tensor, "n c h w"]:
        """Cut tiles from padded images."""
        (rows, columns), (above, before) = self.window, self.offset
        return torch.cat([padded[tile.image : tile.image + 1, :,
                                 tile.top + above : tile.top + above + rows,
                                 tile.left + before : tile.left + before + columns]
                          for tile in tiles])  # fmt: skip


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
    height, width = images.shape[2:]
    tiling = Tiling((height, width), window, overlap)
    padded = tiling.pad(images)
    tiles = [Tile(number, *corner) for number in range(len(images)) for corner in tiling.corners]
    weight = tile_weight(window, device)
    (above, before), (rows, columns) = tiling.offset, window

    sums: dict[str, Tensor] = {}
    for first in range(0, len(tiles), batch_size):
        batch = tiles[first : first + batch_size]
        maps = predict(tiling.cut(padded, batch).to(device), batch)
        for name, values in maps.items():
            if name not in sums:
                shape = (len(images), values.shape[1], *padded.shape[2:])
                sums[name] = torch.zeros(shape, dtype=images.dtype)
            for (number, top, left), value in zip(batch, (values * weight).cpu(), strict=True):
                top, left = top + above, left + before
                sums[name][number, :, top : top + rows, left : left + columns] += value

    total = torch.zeros(padded.shape[2:], dtype=images.dtype)
    for top, left in tiling.corners:
        top, left = top + above, left + before
        total[top : top + rows, left : left + columns] += weight.cpu()
    inside = (..., slice(above, above + height), slice(before, before + width))
    return {name: (values / total)[inside] for name, values in sums.items()}


def blend_tiles(
    tiling: Tiling,
    corners: Sequence[tuple[int, int]],
    maps: Sequence[Float[Tensor, "k h w"]],
    rows: slice,
    columns: slice,
) -> Float[Tensor, "k rows columns"]:
    """Return a box of the blended map, from some of an image's tiles, on the CPU.

    It holds where every tile that covers a pixel is given, and is 0 where none is.
    """
    weight = tile_weight(tiling.window, torch.device("cpu"))
    sums = torch.zeros((len(maps[0]), rows.stop - rows.start, columns.stop - columns.start))
    total = torch.zeros(sums.shape[1:])
    for (top, left), values in zip(corners, maps, strict=True):
        first, last = max(top, rows.start), min(top + tiling.window[0], rows.stop)
        start, stop = max(left, columns.start), min(left + tiling.window[1], columns.stop)
        here = (..., slice(first - rows.start, last - rows.start),
                slice(start - columns.start, stop - columns.start))  # fmt: skip
        there = (..., slice(first - top, last - top), slice(start - left, stop - left))
        sums[here] += values[there] * weight[there]
        total[here] += weight[there]
    return sums / total.clamp(min=torch.finfo(total.dtype).tiny)


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


def _gaussian(side: int, device: torch.device) -> Float[Tensor, "side"]:
    distance = torch.arange(-(side - 1) / 2, (side - 1) / 2 + 1, device=device)
    return torch.exp(distance**2 / (-2 * (side * SIGMA) ** 2))
