"""Windows within reach of a person's marks, refined again with the marks."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.diffusion import Evidence
from hidiff.hybrid import HybridSegmentor, believe
from hidiff.prediction.certain import bound_of, certain_windows
from hidiff.prediction.reach_crop import ReachCrop, crops_around
from hidiff.prediction.seen import Seen, SeenWindows, WindowKey, join_seen, see
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.tiling import Tile, Tiling, blend_tiles
from hidiff.prediction.windows import Corner, num_mirrors, refine_seen, turn, turn_tiles


@dataclass(frozen=True)
class Guidance:
    """Hints, evidence and belief about the mask of one image, at its size."""

    hints: Float[Tensor, "k h w"]
    """+1 this class, -1 not this class, 0 nothing said"""
    known: Bool[Tensor, "k h w"]
    """pixels where the hints are certain"""
    belief: Float[Tensor, "k h w"] | None = None
    """log-odds that are added to those of the prior"""

    def cut(
        self,
        tiling: Tiling,
        tiles: list[Tile],
        mirror: int,
        device: torch.device,
        reach: Bool[Tensor, "h w"],
    ) -> "WindowMarks":
        """Return the marks of windows, turned round; nothing is known beyond the image."""

        def part(values: Tensor) -> Tensor:
            cut = tiling.cut(tiling.pad(values[None], beyond="zero"), tiles)
            return turn(cut, mirror).to(device)

        hints = part(self.hints)
        evidence = Evidence(part(self.known.float()) > 0, (hints > 0).to(hints.dtype))
        belief = None if self.belief is None else part(self.belief)
        return WindowMarks(hints, evidence, belief, part(reach[None].float()) > 0)


class WindowMarks(NamedTuple):
    """The marks of windows, and what lies within reach of them."""

    hints: Float[Tensor, "b k h w"]
    evidence: Evidence
    belief: Float[Tensor, "b k h w"] | None
    reach: Bool[Tensor, "b 1 h w"]

    @property
    def marked(self) -> Bool[Tensor, "b"]:
        """True for windows with any mark or belief."""
        says = self.hints.ne(0) | self.evidence.known
        if self.belief is not None:
            says |= self.belief.ne(0)
        return says.flatten(1).any(dim=1)

    def choose(self, numbers: list[int], crop: ReachCrop) -> "WindowMarks":
        """Return the marks in a crop of some of the windows."""

        def cut(values: Tensor) -> Tensor:
            return crop.cut(values[numbers])

        evidence = Evidence(cut(self.evidence.known), cut(self.evidence.y0))
        belief = None if self.belief is None else cut(self.belief)
        return WindowMarks(cut(self.hints), evidence, belief, cut(self.reach))


@torch.inference_mode()
def refine_reach(
    hybrid: HybridSegmentor,
    image: Float[Tensor, "1 c h w"],
    name: str,
    settings: PredictionSettings,
    *,
    window: tuple[int, int],
    device: torch.device,
    reach: Bool[Tensor, "h w"],
    guidance: Guidance,
    with_prior: bool,
    keep: SeenWindows,
) -> tuple[slice, slice, Float[Tensor, "k rows columns"]]:
    """Refine the windows that meet the reach again; return its box, and the probability there.

    The windows are those of `refine_windows`, of which `keep` has what it has. Within the reach the
    result is the blend of all windows; in the rest of the box it is not. Of a window much larger
    than what is within reach a crop around that is refined (`reach_crop.crops_around`).
    """
    height, width = image.shape[2:]
    tiling = Tiling((height, width), window, settings.overlap)
    rows, columns = (_span(reach.any(dim=axis)) for axis in (1, 0))
    corners = [
        (top, left)
        for top, left in tiling.corners
        if reach[max(top, 0) : top + window[0], max(left, 0) : left + window[1]].any()
    ]
    padded = tiling.pad(image)
    bound = bound_of(settings)
    means: list[Tensor] = []
    for first in range(0, len(corners), settings.windows):
        tiles = [Tile(0, *corner) for corner in corners[first : first + settings.windows]]
        places = [(name, tile.top, tile.left) for tile in tiles]
        looks = []
        for mirror in range(num_mirrors(settings)):
            marks = guidance.cut(tiling, tiles, mirror, device, reach)
            cut = turn_tiles(hybrid, tiling.cut(padded, tiles).to(device), mirror, with_prior)
            keys = [(*place, mirror) for place in places]
            windows = _recall(hybrid, cut, keys, marks.marked, bound, keep)
            is_open = [
                bool(mark) or not certain_windows(window.prior, bound)
                for mark, window in zip(marks.marked, windows, strict=True)
            ]
            mean = _refine_marked(hybrid, windows, marks, is_open, mirror, places, settings)
            looks.append(turn(mean, mirror))
        means += list(torch.stack(looks).mean(dim=0).cpu())
    return rows, columns, blend_tiles(tiling, corners, means, rows, columns)


@torch.inference_mode()
def see_ahead(
    hybrid: HybridSegmentor,
    image: Float[Tensor, "1 c h w"],
    name: str,
    settings: PredictionSettings,
    *,
    window: tuple[int, int],
    device: torch.device,
    with_prior: bool,
    keep: SeenWindows,
) -> None:
    """Put the windows of an image into `keep`, ready for marks, until it is full."""
    height, width = image.shape[2:]
    tiling = Tiling((height, width), window, settings.overlap)
    padded = tiling.pad(image)
    for first in range(0, len(tiling.corners), settings.windows):
        if keep.is_full:
            return
        corners = tiling.corners[first : first + settings.windows]
        tiles = [Tile(0, *corner) for corner in corners]
        marked = torch.ones(len(tiles), dtype=torch.bool)
        for mirror in range(num_mirrors(settings)):
            cut = turn_tiles(hybrid, tiling.cut(padded, tiles).to(device), mirror, with_prior)
            keys = [(name, *corner, mirror) for corner in corners]
            _recall(hybrid, cut, keys, marked, bound_of(settings), keep)


def _recall(
    hybrid: HybridSegmentor,
    cut: tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k h w"] | None],
    keys: list[WindowKey],
    marked: Bool[Tensor, "b"],
    bound: float,
    keep: SeenWindows,
) -> list[Seen]:
    """Return windows as the networks saw them.

    `cut` are their image and the prior that came with it. Windows that were not kept are seen
    again, and so are marked ones that were not prepared, as they were certain before.
    """
    windows = [keep.get(key) for key in keys]
    missing = [
        number
        for number, window in enumerate(windows)
        if window is None or (marked[number] and not window.prepared)
    ]
    if missing:
        image, prior = (None if each is None else each[missing] for each in cut)
        assert image is not None
        image = image.contiguous(memory_format=torch.channels_last)
        looked = see(hybrid, image, prior, bound=bound, marked=marked[missing])
        for place, number in enumerate(missing):
            windows[number] = window = looked.one(place)
            keep.put(keys[number], window)
    return [window for window in windows if window is not None]


def _refine_marked(
    hybrid: HybridSegmentor,
    windows: list[Seen],
    marks: WindowMarks,
    is_open: list[bool],
    mirror: int,
    places: list[Corner],
    settings: PredictionSettings,
) -> Float[Tensor, "b k h w"]:
    """Return the mean of windows with marks; those that are not open keep the prior."""
    mean = torch.cat([window.prior for window in windows])
    height, width = mean.shape[2:]
    # windows with the same part to refine are refined together
    groups: dict[ReachCrop, list[int]] = {}
    for number, crop in enumerate(crops_around(marks.reach)):
        if is_open[number]:
            groups.setdefault(crop, []).append(number)
    for crop, numbers in groups.items():
        seen = join_seen([crop.cut_seen(windows[number]) for number in numbers])
        part = marks.choose(numbers, crop)
        if part.belief is not None:
            seen = seen._replace(prior=believe(seen.prior, part.belief, hybrid.labels))
        corners = [crop.place(places[number], (height, width), mirror) for number in numbers]
        maps = refine_seen(
            hybrid, seen, mirror, corners, settings, False, part.hints, part.evidence
        )
        mean[numbers, :, crop.top : crop.bottom, crop.left : crop.right] = maps["mean"]
    return mean


def _span(marked: Bool[Tensor, "n"]) -> slice:
    """Return the stretch from the first marked place to the last."""
    places = marked.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)
