"""Images of any size through networks of one window: overlapping windows in, whole maps out."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hidiff import seeding
from hidiff.diffusion import subset
from hidiff.hybrid import HybridSegmentor, Look
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
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Return the maps of images of one size, blended from overlapping windows, on the CPU.

    They are `prior`, the `mean` of the samples and the mean of their `squares`; without `refine`
    the mean is the prior. With `trace` also `yt 3` and `y0_hat 3` of every step of the first
    sample. Draws depend only on an image's name and the window's place in it, not on what else is
    in the batch.
    """

    def look(tiles: Tensor, places: list[Tile]) -> dict[str, Tensor]:
        tiles = tiles.contiguous(memory_format=torch.channels_last)
        corners = [(names[tile.image], tile.top, tile.left) for tile in places]
        looks = [
            _mirrored(hybrid, tiles, number, corners, settings, refine, trace)
            for number in range(len(MIRRORS) if settings.mirror else 1)
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
) -> dict[str, Float[Tensor, "b _ h w"]]:
    """Segmentor once, refiner for each sample and step, on windows turned round and back."""
    axes = MIRRORS[mirror]
    tiles = tiles.flip(axes) if axes else tiles
    look = hybrid.look(tiles)
    maps = {"prior": look.prior}
    if refine:
        maps |= _refined(hybrid, tiles, look, mirror, corners, settings, trace)
    else:
        maps["mean"] = look.prior
    return {key: value.flip(axes) if axes else value for key, value in maps.items()}


def _refined(
    hybrid: HybridSegmentor,
    tiles: Float[Tensor, "b c h w"],
    look: Look,
    mirror: int,
    corners: list[Corner],
    settings: PredictionSettings,
    trace: bool,
) -> dict[str, Float[Tensor, "b k h w"]]:
    planes, (height, width) = look.prior.shape[1], tiles.shape[2:]

    def uniforms_of(sample: int):
        def uniform(t: int) -> Tensor:
            fields = [
                seeding.uniform_window(
                    settings.seed, name, mirror, sample, t,
                    planes=planes, top=top, left=left, height=height, width=width,
                )
                for name, top, left in corners
            ]  # fmt: skip
            field = torch.stack(fields)
            return field.flip(MIRRORS[mirror]) if MIRRORS[mirror] else field

        return uniform

    num_steps = hybrid.schedule.num_steps
    steps = subset(num_steps, settings.steps_of(num_steps))
    uniforms = [uniforms_of(sample) for sample in range(settings.samples)]
    maps, taken = {}, ()
    for taken in hybrid.refine(
        tiles, look, steps, uniforms, settings.sampler, settings.temperature_or_default
    ):
        if trace:
            step = taken[0]
            maps[f"yt {step.t}"], maps[f"y0_hat {step.t}"] = step.yt, step.y0_hat
    total, squares = torch.zeros_like(look.prior), torch.zeros_like(look.prior)
    for step in taken:
        total += step.y0_hat
        squares += step.y0_hat.square()
    return {**maps, "mean": total / settings.samples, "squares": squares / settings.samples}


def read_trace(maps: dict[str, Float[np.ndarray, "k h w"]]) -> list:
    """Return (t, yt, y0_hat) of each step that `refine_windows` left in the maps of an image."""
    steps = sorted((int(key.split()[1]) for key in maps if key[:3] == "yt "), reverse=True)
    return [(t, (maps[f"yt {t}"] >= 0.5).astype(np.float32), maps[f"y0_hat {t}"]) for t in steps]
