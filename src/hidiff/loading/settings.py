"""The settings of a data set, from where it lies to how patches are cut from it."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

from hidiff.datasets.catalog import CATALOG
from hidiff.datasets.splits import Splitting
from hidiff.images.files import DataError
from hidiff.images.grid import PLANES, Plane
from hidiff.images.intensity import Intensity
from hidiff.images.priors import Priors
from hidiff.images.voxels import Nan
from hidiff.loading.augmentation import PRESETS, Augmentation, check_square
from hidiff.loading.cache import Cache
from hidiff.loading.reading import Slicing
from hidiff.sides import check_sides

OutsideFieldOfView = Literal["background", "ignored"]
DATA_VARIABLE = "HIDIFF_DATA"  # environment: where relative data paths are looked for


class DataSettings(BaseModel):
    """The images, the way they are read, and the way training patches are cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(default="folder", description=f"one of {', '.join(CATALOG)}")
    path: str = Field(
        description="the data set's folder; a relative one is looked for in $HIDIFF_DATA, if set"
    )
    splitting: Splitting = Splitting()
    channels: int = Field(default=3, ge=1, description="channels of an image: 1 grey, 3 colour")
    plane: Plane = Field(
        default="axial", description=f"volumes: plane of the slices, one of {', '.join(PLANES)}"
    )
    neighbours: int = Field(
        default=0,
        ge=0,
        description="volumes: number of slices above and below that come as channels too (2.5-D)",
    )
    spacing_mm: tuple[PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        description="volumes: spacing of rows and columns, in mm, that slices are "
        "resampled to; left out: their own",
    )
    crop_mm: PositiveFloat | None = Field(
        default=None,
        description="volumes: the model outlines what lies in the middle of a crop of patch_size, "
        "so a prediction needs a place (--at); side of the crop's pixels, in mm. The crop is "
        "stretched to its own range, if intensity is unit. Left out: whole slices are seen",
    )
    nan: Nan = Field(
        default="refused",
        description="NaN in images: refused, or background, which puts the lowest value of the "
        "channel there, or 0 if that is lower (some tools write NaN outside the body)",
    )
    intensity: Intensity = Intensity()
    priors: Priors = Priors()
    size: tuple[int, int] | None = Field(
        default=None,
        description="height and width that every image is resized to; left out: its own",
    )
    patch_size: tuple[int, int] = Field(
        default=(128, 128),
        description="height and width of a training patch: multiples of 32, 64 or more",
    )
    outside_field_of_view: OutsideFieldOfView = Field(
        default="background",
        description="meaning of the pixels outside a field of view in training: background, as "
        "past the rim of a lens, or ignored, where nobody has outlined anything; metrics never "
        "count them",
    )
    foreground_share: float = Field(
        default=0.5, ge=0, le=1, description="share of patches centred on foreground"
    )
    augmentation: str | Augmentation = Field(
        default="none", description=f"one of {', '.join(PRESETS)}, or each chance by name"
    )
    cache: Cache = Field(
        default=True,
        description="true: keep decoded images in memory; disk: keep them in a folder of arrays, "
        "$HIDIFF_CACHE or ~/.cache/hidiff; false: decode each time",
    )

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source not in CATALOG:
            raise ValueError(f"source is {source!r}, but must be one of {', '.join(CATALOG)}")
        return source

    @field_validator("patch_size")
    @classmethod
    def _fits_the_refiner(cls, size: tuple[int, int]) -> tuple[int, int]:
        return check_sides("patch_size", size)

    @field_validator("augmentation")
    @classmethod
    def _known_preset(cls, augmentation: str | Augmentation) -> str | Augmentation:
        if isinstance(augmentation, str) and augmentation not in PRESETS:
            raise ValueError(
                f"augmentation is {augmentation!r}, but must be one of {', '.join(PRESETS)}"
            )
        return augmentation

    @field_validator("size")
    @classmethod
    def _has_pixels(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < 1:
            raise ValueError(f"size is {size}, but both sides must be 1 or more")
        return size

    @model_validator(mode="after")
    def _squares_turn(self) -> "DataSettings":
        check_square(self.patch_size, self.augmentations)
        return self

    @property
    def augmentations(self) -> Augmentation:
        """The augmentation, presets looked up."""
        chosen = self.augmentation
        return PRESETS[chosen] if isinstance(chosen, str) else chosen

    @model_validator(mode="after")
    def _one_way_to_resize(self) -> "DataSettings":
        if self.size is not None and self.spacing_mm is not None:
            raise ValueError("size and spacing_mm both resize slices: leave one out")
        return self

    @property
    def slicing(self) -> Slicing:
        """Return how images are read and cut into slices."""
        return Slicing(self.plane, self.neighbours, self.spacing_mm, self.nan, self.crop_mm)

    @property
    def image_channels(self) -> int:
        """The number of channels that the networks see, with those of neighbouring slices."""
        return self.channels * (2 * self.neighbours + 1)

    @property
    def root(self) -> Path:
        """The data set's folder: below $HIDIFF_DATA, where that is set and the path is relative.

        Raises DataError for a relative path that leads out of $HIDIFF_DATA.
        """
        above = os.environ.get(DATA_VARIABLE)
        path = Path(self.path).expanduser()
        if above is None or path.is_absolute():
            return path
        if not Path(os.path.normpath(Path(above) / path)).is_relative_to(os.path.normpath(above)):
            raise DataError(
                f"data.path {self.path} leads out of ${DATA_VARIABLE} ({above}). Give the whole "
                "path if that is meant, or mend it."
            )
        return Path(above) / path
