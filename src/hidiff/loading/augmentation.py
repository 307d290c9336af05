"""Random changes of training patches: chances and ranges, and presets by the kind of image."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat


def _chance(change: str) -> Any:
    """Return a field for the chance, 0 to 1, that a patch goes through a change."""
    return Field(default=0.0, ge=0, le=1, description=f"chance, 0 to 1, of {change}")


class Augmentation(BaseModel):
    """The random changes of a training patch, each with its own chance.

    Brightness counts in the normalised image's unit (kind unit: black -1, white 1).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lens: float = _chance("a round view of any size, with nothing but black around it")
    flip_horizontal: float = _chance("a flip from left to right")
    flip_vertical: float = _chance("a flip from top to bottom")
    rotate90: float = _chance("a rotation by 90, 180 or 270 degrees")
    affine: float = _chance("a rotation by any angle together with a zoom")
    rotation_degrees: float = Field(
        default=15.0, ge=0, le=180, description="largest angle of affine, in degrees"
    )
    zoom: float = Field(
        default=0.15, ge=0, lt=1, description="largest zoom of affine, as a share of each side"
    )
    gamma: float = _chance("a change of gamma")
    gamma_range: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(0.7, 1.5), description="lowest and highest exponent of gamma"
    )
    contrast: float = _chance("a change of contrast")
    contrast_change: float = Field(
        default=0.2, ge=0, lt=1, description="largest change of contrast, as a share"
    )
    brightness: float = _chance("a change of brightness")
    brightness_change: float = Field(default=0.2, ge=0, description="largest change of brightness")
    tint: float = _chance("a change of brightness in each channel on its own")
    tint_change: float = Field(
        default=0.1, ge=0, description="largest change of brightness in a channel"
    )
    noise: float = _chance("normal noise")
    noise_std: float = Field(default=0.1, ge=0, description="largest standard deviation of noise")


PRESETS = {
    "none": Augmentation(),
    "flip_rotate": Augmentation(flip_horizontal=0.5, flip_vertical=0.5, rotate90=0.75),
    # An eye has no up or down once a patch is cut out of it; cameras differ in exposure.
    "retina": Augmentation(
        flip_horizontal=0.5,
        flip_vertical=0.5,
        rotate90=0.75,
        affine=0.3,
        gamma=0.3,
        contrast=0.3,
        brightness=0.3,
        tint=0.3,
    ),
    # The endoscope turns freely, and its light is never white.
    "endoscopy": Augmentation(
        flip_horizontal=0.5,
        flip_vertical=0.5,
        rotate90=0.75,
        affine=0.5,
        rotation_degrees=45,
        zoom=0.25,
        contrast=0.3,
        brightness=0.3,
        tint=0.5,
        noise=0.1,
    ),
    # A head lies one way up, and left mirrors right; the unit of brightness is arbitrary.
    "mri": Augmentation(
        flip_horizontal=0.5, affine=0.5, gamma=0.3, contrast=0.3, brightness=0.3, noise=0.3
    ),
}


def check_square(patch_size: tuple[int, int], augmentation: Augmentation) -> None:
    """Raise ValueError for a patch that cannot be turned as it shall be."""
    if augmentation.rotate90 and patch_size[0] != patch_size[1]:
        raise ValueError(
            f"patch_size is {patch_size[0]}x{patch_size[1]}, but augmentation.rotate90 wants a "
            "square. Choose a square patch, or set rotate90 to 0."
        )
