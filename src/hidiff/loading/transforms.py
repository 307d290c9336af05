"""From a whole image to a training patch: crop, turn, zoom, and change of brightness."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from monai.data.meta_obj import get_track_meta, set_track_meta
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd, RandRotate90d
from monai.transforms.transform import MapTransform, Randomizable, Transform
from monai.transforms.utility.dictionary import EnsureTyped
from torch import Tensor
from torch.nn.functional import pad

from hidiff.labels import Labels
from hidiff.loading.augmentation import Augmentation, check_square
from hidiff.loading.planes import patch_planes

# MONAI's and torch's words for what lies past an image's edge
GRID_PADDING = {"edge": "border", "zero": "zeros"}
CROP_PADDING = {"edge": "replicate", "zero": "constant"}


def training_transform(
    patch_size: tuple[int, int],
    augmentation: Augmentation,
    foreground_share: float,
    labels: Labels,
) -> "PlainCompose":
    """Return what makes a patch of a stored item: plain float32 tensors, masks still exact bits.

    Every plane is cut and turned as its rule in PLANES says; brightness changes in the image alone.
    Where a patch reaches beyond the image (a small image, a turned patch), the image's edge is
    repeated, the mask is empty (background, for exclusive classes) and field_of_view is 0.
    """
    check_square(patch_size, augmentation)
    if not 0 <= foreground_share <= 1:
        raise ValueError(f"foreground_share is {foreground_share}, but is a share: 0 to 1")
    # The crop comes first and with room to turn in, so that all the rest works on few pixels.
    room = _room_to_turn(augmentation) if augmentation.affine else 1.0
    steps = [
        *([Lens(augmentation.lens)] if augmentation.lens else []),
        CropPatch(patch_size, room, foreground_share, labels.class_planes),
        *_shape_steps(patch_size, augmentation),
        *_brightness_steps(augmentation),
        EnsureTyped(
            tuple(patch_planes()), dtype=torch.float32, track_meta=False, allow_missing_keys=True
        ),
    ]
    if labels.kind == "exclusive":
        steps.append(FillBackground())
    return PlainCompose(steps)


def _shape_steps(patch_size: tuple[int, int], augmentation: Augmentation) -> list[Transform]:
    rules = patch_planes()
    names = tuple(rules)  # of which an item may lack some, such as a prior
    steps: list[Transform] = []
    if augmentation.affine:
        steps.append(
            RandAffined(
                names,
                spatial_size=patch_size,
                prob=augmentation.affine,
                rotate_range=math.radians(augmentation.rotation_degrees),
                scale_range=(augmentation.zoom, augmentation.zoom),
                mode=tuple(rule.interpolation for rule in rules.values()),
                padding_mode=tuple(GRID_PADDING[rule.beyond] for rule in rules.values()),
                allow_missing_keys=True,
            )
        )
    if augmentation.flip_vertical:
        steps.append(
            RandFlipd(
                names, prob=augmentation.flip_vertical, spatial_axis=0, allow_missing_keys=True
            )
        )
    if augmentation.flip_horizontal:
        steps.append(
            RandFlipd(
                names, prob=augmentation.flip_horizontal, spatial_axis=1, allow_missing_keys=True
            )
        )
    if augmentation.rotate90:
        steps.append(RandRotate90d(names, prob=augmentation.rotate90, allow_missing_keys=True))
    return steps


def _brightness_steps(augmentation: Augmentation) -> list[Transform]:
    a = augmentation
    steps: list[Transform] = []
    if a.gamma:
        steps.append(RandAdjustContrastd("image", prob=a.gamma, gamma=a.gamma_range))
    if a.contrast:
        steps.append(RandScaleIntensityd("image", factors=a.contrast_change, prob=a.contrast))
    if a.brightness:
        steps.append(RandShiftIntensityd("image", offsets=a.brightness_change, prob=a.brightness))
    if a.tint:
        steps.append(
            RandShiftIntensityd("image", offsets=a.tint_change, prob=a.tint, channel_wise=True)
        )
    if a.noise:
        steps.append(RandGaussianNoised("image", prob=a.noise, std=a.noise_std))
    return steps


def _room_to_turn(augmentation: Augmentation) -> float:
    """Return the factor by which a square must grow to hold itself turned and zoomed out."""
    degrees = min(augmentation.rotation_degrees, 45)  # 45 is the widest
    turned = math.cos(math.radians(degrees)) + math.sin(math.radians(degrees))
    return turned * (1 + augmentation.zoom)


class PlainCompose(Compose):
    """MONAI's Compose on plain tensors: twice as fast as with the record of what was done."""

    def __call__(self, *args, **kwargs):
        with _no_record():
            return super().__call__(*args, **kwargs)


@contextmanager
def _no_record() -> Iterator[None]:
    """MONAI's switch is global to the process: put back as it was."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


class Lens(Randomizable, Transform):
    """See the image through a round lens, as other cameras do: black around it, and no class there.

    The disc lies near the image's middle and has 0.4 to 0.8 of its shorter side as its radius; its
    rim is some pixels wide. Black is the image's own lowest value, by channel, a prior's too.
    """

    def __init__(self, prob: float) -> None:
        self.prob = prob

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if self.R.random() >= self.prob:
            return dict(data)
        height, width = data["image"].shape[-2:]
        radius = min(height, width) * self.R.uniform(0.4, 0.8)
        row, column = (side * self.R.uniform(0.4, 0.6) for side in (height, width))
        rows, columns = torch.arange(height)[:, None] - row, torch.arange(width) - column
        past_rim = (rows**2 + columns**2).sqrt() - radius
        light = (0.5 - past_rim / self.R.uniform(1, 5)).clamp(0, 1).float()
        past = {
            "lowest": lambda plane: _darken(plane, light),
            "zero": lambda plane: plane * (past_rim < 0),
            "kept": lambda plane: plane,
        }
        changed = {
            name: past[rule.past_lens](data[name])
            for name, rule in patch_planes().items()
            if name in data
        }
        return {**data, **changed}


def _darken(plane: Float[Tensor, "c h w"], light: Float[Tensor, "h w"]) -> Float[Tensor, "c h w"]:
    """Fade to the lowest value of each channel where there is no light."""
    lowest = plane.amin(dim=(-2, -1), keepdim=True)
    return torch.lerp(lowest.expand_as(plane), plane, light.expand_as(plane))


class CropPatch(Randomizable, Transform):
    """Cut the patch, and `room` times its size around it, where something is to be seen.

    A `foreground_share` of the patches is centred on a pixel of a class: first a class that the
    image shows, then one of its pixels, so that a small class comes as often as a large one. The
    other patches are centred on any pixel. Both lie in the field of view, and the patch (not its
    room) within the image, so near an edge the pixel is off the centre.
    """

    def __init__(
        self,
        patch_size: tuple[int, int],
        room: float,
        foreground_share: float,
        class_planes: slice,
    ) -> None:
        self.patch_size = patch_size
        self.crop_size = tuple(_grown(side, room) for side in patch_size)
        self.foreground_share = foreground_share
        self.class_planes = class_planes

    def randomize(self, data: Mapping[str, Any]) -> tuple[int, int]:
        """The pixel to centre on."""
        seen = data["field_of_view"][0].bool()
        if self.R.random() < self.foreground_share:
            planes = data["y0"][self.class_planes].bool() & seen
            present = planes.flatten(1).any(dim=1).nonzero()[:, 0]
            if len(present):
                seen = planes[present[self.R.randint(len(present))]]
        pixels = np.flatnonzero(seen.numpy())
        width = seen.shape[1]
        chosen = pixels[self.R.randint(len(pixels))] if len(pixels) else seen.numel() // 2
        return int(chosen) // width, int(chosen) % width

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        centre = self.randomize(data)
        image_size = data["image"].shape[-2:]
        starts = [
            _start(*numbers)
            for numbers in zip(centre, image_size, self.patch_size, self.crop_size, strict=True)
        ]
        cut = {
            name: _crop(data[name], starts, self.crop_size, CROP_PADDING[rule.beyond])
            for name, rule in patch_planes().items()
            if name in data
        }
        return {**data, **cut}


class FillBackground(MapTransform):
    """Exclusive classes: where no class is left, beyond the image, there is background."""

    def __init__(self) -> None:
        super().__init__("y0")

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        y0 = data["y0"].clone()
        y0[0] = 1 - y0[1:].sum(dim=0)
        return {**data, "y0": y0}


def _grown(side: int, room: float) -> int:
    """Return at least `room` times the side, by a whole number of pixels on each end."""
    return side + 2 * math.ceil((math.ceil(side * room) - side) / 2)


def _start(centre: int, image_side: int, patch_side: int, crop_side: int) -> int:
    """Return the start of the crop; below 0 if its margin, or a large patch, leaves the image."""
    free = image_side - patch_side
    patch_start = min(max(centre - patch_side // 2, 0), free) if free >= 0 else free // 2
    return patch_start - (crop_side - patch_side) // 2


def _crop(value: Tensor, starts: list[int], size: tuple[int, ...], mode: str) -> Tensor:
    """Return a copy, so that nothing later can write into the cached image."""
    inside, beyond = [], []
    for start, side, length in zip(starts, size, value.shape[-2:], strict=True):
        first, last = max(start, 0), min(start + side, length)
        inside.append(slice(first, last))
        beyond.append((first - start, start + side - last))
    cut = value[..., inside[0], inside[1]].float()
    (top, bottom), (left, right) = beyond
    if not any((top, bottom, left, right)):
        return cut.clone(memory_format=torch.contiguous_format)
    return pad(cut[None], (left, right, top, bottom), mode=mode)[0]
