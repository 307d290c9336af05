"""Images of any size through networks of one window: overlapping windows in, whole maps out."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hidiff import seeding
from hidiff.diffusion import Evidence, subset
from hidiff.hybrid import HybridSegmentor, Look
from hidiff.prediction.certain import bound_of
from hidiff.prediction.seen import Looked, Seen, SeenWindows, see
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.tiling import Tile, predict_tiles

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

    They are `prior`, the `mean` of the samples and, of several, the mean of their `squares`;
    without `refine` the mean is the prior. With `trace` also `yt 3` and `y0_hat 3` of every step of
    the first sample. Draws depend only on an image's name and the window's place in it, not on what
    else is in the batch. With `with_prior` the last planes of the images are a prior that replaces
    the segmentor's. `keep` takes what can be used again when marks change the mask. The prior is
    the mean of windows that are certain (`certain.bound_of`).
    """
    bound = bound_of(settings, trace=trace) if refine else 0.0

    def look(tiles: Tensor, places: list[Tile]) -> dict[str, Tensor]:
        corners = [(names[tile.image], tile.top, tile.left) for tile in places]
        looks = [
            _mirrored(
                hybrid, tiles, mirror, corners, settings, refine, trace, with_prior, keep, bound
            )
            for mirror in range(num_mirrors(settings))
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
    bound: float,
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Run the segmentor once, and the refiner for each sample and step, on mirrored windows."""
    image, prior = turn_tiles(hybrid, tiles, mirror, with_prior)
    if not refine:
        found = hybrid.look(image).prior if prior is None else prior
        maps = {"prior": found, "mean": found}
    else:
        looked = see(hybrid, image, prior, bound=bound)
        if keep is not None:
            for number, corner in enumerate(corners):
                keep.put((*corner, mirror), looked.one(number))
        maps = {"prior": looked.prior}
        maps |= _refine_open(hybrid, looked, mirror, corners, settings, trace)
    return {key: turn(value, mirror) for key, value in maps.items()}


def _refine_open(
    hybrid: HybridSegmentor,
    looked: Looked,
    mirror: int,
    corners: list[Corner],
    settings: PredictionSettings,
    trace: bool,
) -> dict[str, Float[Tensor, "b k h w"]]:
    """Refine the open windows; the others keep the prior."""
    if looked.is_open.all() and looked.seen is not None:
        return refine_seen(hybrid, looked.seen, mirror, corners, settings, trace)
    maps = {"mean": looked.prior.clone()}
    if settings.samples > 1:
        maps["squares"] = looked.prior.square()
    if looked.seen is not None:
        chosen = [corners[number] for number in looked.is_open.nonzero().flatten().tolist()]
        refined = refine_seen(hybrid, looked.seen, mirror, chosen, settings)
        for key, values in maps.items():
            values[looked.is_open] = refined[key]
    return maps


def num_mirrors(settings: PredictionSettings) -> int:
    """Return the number of mirrored copies of a window that are refined."""
    return len(MIRRORS) if settings.mirror else 1


def turn(values: Tensor, mirror: int) -> Tensor:
    """Turn windows round; twice brings them back."""
    axes = MIRRORS[mirror]
    return values.flip(axes) if axes else values


def turn_tiles(
    hybrid: HybridSegmentor, tiles: Float[Tensor, "b c h w"], mirror: int, with_prior: bool
) -> tuple[Tensor, Tensor | None]:
    """Return windows turned round, and the prior that came with them."""
    planes = hybrid.labels.num_planes
    image, prior = (tiles[:, :-planes], tiles[:, -planes:]) if with_prior else (tiles, None)
    image = turn(image.contiguous(memory_format=torch.channels_last), mirror)
    return image, None if prior is None else turn(prior, mirror)


def refine_seen(
    hybrid: HybridSegmentor,
    seen: Seen,
    mirror: int,
    corners: list[Corner],
    settings: PredictionSettings,
    trace: bool = False,
    hints: Float[Tensor, "b k h w"] | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Float[Tensor, "b k h w"]]:
    """Return the mean of the samples, and of several that of their squares, of windows seen."""
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
            return turn(torch.stack(fields), mirror)

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
    if len(taken) == 1:  # one sample has no variance
        return {**maps, "mean": taken[0].y0_hat}
    total, squares = torch.zeros_like(seen.prior), torch.zeros_like(seen.prior)
    for step in taken:
        total += step.y0_hat
        squares += step.y0_hat.square()
    return {**maps, "mean": total / settings.samples, "squares": squares / settings.samples}


def read_trace(maps: dict[str, Float[np.ndarray, "k h w"]]) -> list:
    """Return (t, yt, y0_hat) of each step that `refine_windows` left in the maps of an image."""
    steps = sorted((int(key.split()[1]) for key in maps if key[:3] == "yt "), reverse=True)
    return [(t, (maps[f"yt {t}"] >= 0.5).astype(np.float32), maps[f"y0_hat {t}"]) for t in steps]
