"""Images of any size through networks of one window: overlapping windows in, whole maps out."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff import seeding
from hidiff.diffusion import Evidence, subset
from hidiff.hybrid import HybridSegmentor, Look, believe
from hidiff.prediction.seen import Seen, SeenWindows, join_seen, see
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.tiling import Tile, Tiling, blend_tiles, predict_tiles

MIRRORS = ((), (3,), (2,), (2, 3))  # axes turned round: none, left-right, up-down, both

Corner = tuple[str, int, int]
"""the image's name, and the window's top and left in it"""


@torch.inference_mode()
def refine_windows(
    hybrid: HybridSegmentor,
    images: Float[Tensor, "b c h w"],
    names: list[str],
    settings: PredictionSettings,
    *,
    window: tuple[int, int],
    device: torch.device,
    refine: bool = True,
    trace: bool = False,
    with_prior: bool = False,
    keep: SeenWindows | None = None,
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Return the maps of images of one size, blended from overlapping windows, on the CPU.

    They are `prior`, the `mean` of the samples and the mean of their `squares`; without `refine`
    the mean is the prior. With `trace` also `yt 3` and `y0_hat 3` of every step of the first
    sample. Draws depend only on an image's name and the window's place in it, not on what else is
    in the batch. With `with_prior` the last planes of the images are a prior that replaces the
    segmentor's. `keep` takes what can be used again when marks change the mask.
    """

    def look(tiles: Tensor, places: list[Tile]) -> dict[str, Tensor]:
        corners = [(names[tile.image], tile.top, tile.left) for tile in places]
        looks = [
            _mirrored(hybrid, tiles, mirror, corners, settings, refine, trace, with_prior, keep)
            for mirror in range(_num_mirrors(settings))
        ]
        return {key: torch.stack([each[key] for each in looks]).mean(dim=0) for key in looks[0]}

    return predict_tiles(
        look, images, window, overlap=settings.overlap, batch_size=settings.windows, device=device
    )


def _mirrored(
    hybrid: HybridSegmentor,
    tiles: Float[Tensor, "b c h w"],
    mirror: int,
    corners: list[Corner],
    settings: PredictionSettings,
    refine: bool,
    trace: bool,
    with_prior: bool,
    keep: SeenWindows | None,
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Run the segmentor once, and the refiner for each sample and step, on mirrored windows."""
    image, prior = _turned(hybrid, tiles, mirror, with_prior)
    if not refine:
        found = hybrid.look(image).prior if prior is None else prior
        maps = {"prior": found, "mean": found}
    else:
        seen = see(hybrid, image, prior)
        if keep is not None:
            for number, corner in enumerate(corners):
                keep.put((*corner, mirror), seen.one(number))
        maps = {"prior": seen.prior}
        maps |= _refined(hybrid, seen, mirror, corners, settings, trace)
    return {key: _turn(value, mirror) for key, value in maps.items()}


def _num_mirrors(settings: PredictionSettings) -> int:
    return len(MIRRORS) if settings.mirror else 1


def _turn(values: Tensor, mirror: int) -> Tensor:
    """Turn windows round; twice brings them back."""
    axes = MIRRORS[mirror]
    return values.flip(axes) if axes else values


def _turned(
    hybrid: HybridSegmentor, tiles: Float[Tensor, "b c h w"], mirror: int, with_prior: bool
) -> tuple[Tensor, Tensor | None]:
    """Return windows turned round, and the prior that came with them."""
    planes = hybrid.labels.num_planes
    image, prior = (tiles[:, :-planes], tiles[:, -planes:]) if with_prior else (tiles, None)
    image = _turn(image.contiguous(memory_format=torch.channels_last), mirror)
    return image, None if prior is None else _turn(prior, mirror)


def _refined(
    hybrid: HybridSegmentor,
    seen: Seen,
    mirror: int,
    corners: list[Corner],
    settings: PredictionSettings,
    trace: bool,
    hints: Float[Tensor, "b k h w"] | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Float[Tensor, "b k h w"]]:
    planes, (height, width) = seen.prior.shape[1], seen.image.shape[2:]

    def uniforms_of(sample: int):
        def uniform(t: int) -> Tensor:
            fields = [
                seeding.uniform_window(
                    settings.seed, name, mirror, sample, t,
                    planes=planes, top=top, left=left, height=height, width=width,
                )
                for name, top, left in corners
            ]  # fmt: skip
            return _turn(torch.stack(fields), mirror)

        return uniform

    num_steps = hybrid.schedule.num_steps
    steps = subset(num_steps, settings.steps_of(num_steps))
    uniforms = [uniforms_of(sample) for sample in range(settings.samples)]
    look = Look(seen.prior, seen.prior, ())  # the refiner has seen the features already
    maps, taken = {}, ()
    for taken in hybrid.refine(
        seen.image, look, steps, uniforms, settings.sampler, settings.temperature_or_default,
        hints, evidence, seen.prepared,
    ):  # fmt: skip
        if trace:
            step = taken[0]
            maps[f"yt {step.t}"], maps[f"y0_hat {step.t}"] = step.yt, step.y0_hat
    total, squares = torch.zeros_like(seen.prior), torch.zeros_like(seen.prior)
    for step in taken:
        total += step.y0_hat
        squares += step.y0_hat.square()
    return {**maps, "mean": total / settings.samples, "squares": squares / settings.samples}


@dataclass(frozen=True)
class Guidance:
    """Hints, evidence and belief about the mask of one image, at its size."""

    hints: Float[Tensor, "k h w"]
    """+1 this class, -1 not this class, 0 nothing said"""
    known: Bool[Tensor, "k h w"]
    """pixels where the hints are certain"""
    belief: Float[Tensor, "k h w"] | None = None
    """log-odds that are added to those of the prior"""

    def cut(self, tiling: Tiling, tiles: list[Tile], mirror: int, device: torch.device):
        """Return hints, evidence and belief of windows, turned round; nothing is known beyond."""

        def part(values: Tensor) -> Tensor:
            cut = tiling.cut(tiling.pad(values[None], beyond="zero"), tiles)
            return _turn(cut, mirror).to(device)

        hints = part(self.hints)
        evidence = Evidence(part(self.known.float()) > 0, (hints > 0).to(hints.dtype))
        return hints, evidence, None if self.belief is None else part(self.belief)


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
    result is the blend of all windows; in the rest of the box it is not.
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
    means: list[Tensor] = []
    for first in range(0, len(corners), settings.windows):
        tiles = [Tile(0, *corner) for corner in corners[first : first + settings.windows]]
        places = [(name, tile.top, tile.left) for tile in tiles]
        looks = []
        for mirror in range(_num_mirrors(settings)):
            seen = _recall(hybrid, tiling, padded, places, mirror, device, with_prior, keep)
            hints, evidence, belief = guidance.cut(tiling, tiles, mirror, device)
            if belief is not None:
                seen = seen._replace(prior=believe(seen.prior, belief, hybrid.labels))
            maps = _refined(hybrid, seen, mirror, places, settings, False, hints, evidence)
            looks.append(_turn(maps["mean"], mirror))
        means += list(torch.stack(looks).mean(dim=0).cpu())
    return rows, columns, blend_tiles(tiling, corners, means, rows, columns)


def _recall(
    hybrid: HybridSegmentor,
    tiling: Tiling,
    padded: Float[Tensor, "1 c H W"],
    places: list[Corner],
    mirror: int,
    device: torch.device,
    with_prior: bool,
    keep: SeenWindows,
) -> Seen:
    """Return windows as the networks saw them; those that were not kept are seen again."""
    windows = [keep.get((*place, mirror)) for place in places]
    missing = [number for number, window in enumerate(windows) if window is None]
    if missing:
        tiles = tiling.cut(padded, [Tile(0, *places[number][1:]) for number in missing])
        seen = see(hybrid, *_turned(hybrid, tiles.to(device), mirror, with_prior))
        for place, number in enumerate(missing):
            windows[number] = window = seen.one(place)
            keep.put((*places[number], mirror), window)
    return join_seen([window for window in windows if window is not None])


def _span(marked: Bool[Tensor, "n"]) -> slice:
    """Return the stretch from the first marked place to the last."""
    places = marked.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)


def read_trace(maps: dict[str, Float[np.ndarray, "k h w"]]) -> list:
    """Return (t, yt, y0_hat) of each step that `refine_windows` left in the maps of an image."""
    steps = sorted((int(key.split()[1]) for key in maps if key[:3] == "yt "), reverse=True)
    return [(t, (maps[f"yt {t}"] >= 0.5).astype(np.float32), maps[f"y0_hat {t}"]) for t in steps]
