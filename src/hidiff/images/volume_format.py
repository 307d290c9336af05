"""Volumes as images of many slices: one class, and a table of what reads the voxels."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.images.alignment import lay_on, pad_onto
from hidiff.images.arrays import HDF5, read_array_grid, read_array_volume
from hidiff.images.dicom import is_dicom, read_dicom, read_dicom_grid
from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.film import FilmGeometry, check_no_film
from hidiff.images.geometry import Geometry, VolumeGeometry
from hidiff.images.grid import Grid, Plane
from hidiff.images.image import Format, Image, as_floats
from hidiff.images.mask_values import whole_numbers
from hidiff.images.metaimage import read_metaimage, read_metaimage_grid
from hidiff.images.nifti import read_nifti, read_nifti_grid
from hidiff.images.nrrd import read_nrrd, read_nrrd_grid
from hidiff.images.pictures import ARRAYS, PICTURES, read_array
from hidiff.images.slicer_segments import ENDING
from hidiff.images.voxels import Holds, Volume


@dataclass(frozen=True)
class VolumeFormat(Format):
    """A format of voxels on a grid."""

    read_voxels: Callable[[Path, Holds], Volume]
    read_head: Callable[[Path, Holds], Grid]
    """reads the grid from the head alone, where there is one"""
    own_outputs: tuple[str, ...] = ()
    """formats that only masks of such files can be written in"""
    numbers_channels: bool = True
    reversed_arrays: bool = True
    """True if arrays of maps beside it count their axes backwards (k, z, y, x), as nnU-Net's do"""

    plural = "volumes"
    geometry_type = VolumeGeometry

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the formats that its masks can be written in, the usual one first."""
        return (*self.own_outputs, *super().outputs)

    def read(self, path: Path, holds: Holds, plane: Plane) -> Image:
        """Read a volume as its file has it, turned so that slices come first."""
        _check_exists(path)
        volume = self.read_voxels(path, holds)
        geometry = VolumeGeometry(volume.grid, plane)
        return Image(geometry.from_native(volume.values), geometry, path)

    def join(self, parts: Sequence[Image], channels: int | None) -> Image:
        """Take the channels of all files one after another; all must lie on one grid."""
        first = parts[0]
        path = first_file(first.path or "the volume")
        assert isinstance(first.geometry, VolumeGeometry)
        parts = [first, *(lay_on(part, first.geometry, path) for part in parts[1:])]
        values = first.values
        if len(parts) > 1:
            values = np.concatenate([part.values for part in parts])
        grid = first.geometry.grid
        if channels == 1 and len(parts) == 1 and len(values) > 1 and grid.over_time:
            _check_finite(path, values, "image")
            return as_floats(_as_film(first, path))
        if channels not in (None, len(values)):
            beside = f" and the {len(parts) - 1} beside it" if len(parts) > 1 else ""
            raise DataError(
                f"{path}{beside}: {len(values)} channels came, but {channels} are wanted. Set "
                "data.channels to what the files hold, or give a file for every channel."
            )
        _check_finite(path, values, "image")
        files = tuple(first_file(part.path or "a channel") for part in parts)
        image = Image(values, first.geometry, files if len(parts) > 1 else path)
        return image if channels is None else as_floats(image)

    def partner(self, path: Path) -> Format:
        """Return the format of a volume, found by the file's ending or its content."""
        _check_exists(path)
        format = find_volume_format(path)
        if format is None:
            raise DataError(
                f"{path} is no volume of a known kind: {', '.join((*VOLUMES, *ARRAYS))}, or a "
                "folder of DICOM, is wanted. Convert it."
            )
        return format

    def read_geometry(self, path: Path, plane: Plane) -> Geometry:
        """Read the grid from the head alone."""
        _check_exists(path)
        return VolumeGeometry(self.read_head(path, "image"), plane)

    def count_slices(self, path: Path, plane: Plane) -> int:
        """Count the slices from the head alone."""
        return self.read_geometry(path, plane).shape[0]

    def count_values(self, path: Path) -> int:
        """Count the voxels from the head alone."""
        return int(np.prod(self.read_geometry(path, "axial").shape))

    def read_mask(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "d h w"]:
        """Read a mask's values. Whole numbers stored as floats become integers."""
        mask = self._read_on_grid(path, "mask", geometry, image)
        if len(mask.values) != 1:
            raise DataError(
                f"{path} is a mask of {len(mask.values)} volumes (4-D), but one value a voxel is "
                "wanted. Write overlapping regions as values of one volume."
            )
        values = mask.values[0]
        _check_finite(path, values, "mask")
        return np.ascontiguousarray(whole_numbers(path, values))

    def read_maps(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "*native"]:
        """Read maps on the image's grid, or an array of them without a geometry of its own.

        The axes of an array are those of an image that is an array itself; beside other formats
        they run backwards, (k, z, y, x), as nnU-Net writes its probabilities.
        """
        if path.suffix.lower() not in ARRAYS:
            maps = self._read_on_grid(path, "image", geometry, image)
            _check_finite(path, maps.values, "mask")
            return geometry.native(maps.values)
        values = read_array(path)
        if not self.reversed_arrays or values.ndim < 3:
            return values
        return np.moveaxis(values, (-1, -2, -3), (-3, -2, -1))

    def stem(self, path: Path) -> str:
        """Return the name without its ending, .nii.gz as a whole; of a folder the whole name."""
        if path.name in ("", ".."):  # of ".", and of the folder above: their own names
            path = path.resolve()
        name = path.name.lower()
        endings = [ending for ending in (*VOLUMES, *ARRAYS) if name.endswith(ending)]
        if path.is_dir() or not endings:
            return path.name or "volume"
        return path.name[: -len(max(endings, key=len))]

    def _read_on_grid(
        self, path: Path, holds: Holds, geometry: Geometry, image: ImageFiles
    ) -> Image:
        check_no_film(geometry, image)
        assert isinstance(geometry, VolumeGeometry)
        partner = self.partner(path).read(path, holds, geometry.plane)
        if path.name.lower().endswith(ENDING):  # 3D Slicer saves the box around its segments
            partner = pad_onto(partner, geometry)
        return lay_on(partner, geometry, first_file(image))


NIFTI = VolumeFormat(read_nifti, read_nifti_grid)
NRRD = VolumeFormat(read_nrrd, read_nrrd_grid)
METAIMAGE = VolumeFormat(read_metaimage, read_metaimage_grid)
ARRAY = VolumeFormat(read_array_volume, read_array_grid, reversed_arrays=False)
DICOM = VolumeFormat(read_dicom, read_dicom_grid, own_outputs=("dicom",), numbers_channels=False)

VOLUMES: dict[str, VolumeFormat] = {
    ".nii.gz": NIFTI,
    ".nii": NIFTI,
    ENDING: NRRD,
    ".nrrd": NRRD,
    ".nhdr": NRRD,
    ".mha": METAIMAGE,
    ".mhd": METAIMAGE,
    **dict.fromkeys(HDF5, ARRAY),
    ".dcm": DICOM,
}


def find_volume_format(path: Path) -> VolumeFormat | None:
    """Return the format of a file that is no picture; None for one of no known kind.

    Scanners write DICOM into files of any ending, and into folders, so those are opened.
    """
    name = path.name.lower()
    if name.endswith(ARRAYS):
        return ARRAY
    known = next((VOLUMES[ending] for ending in VOLUMES if name.endswith(ending)), None)
    if known is None and not name.endswith(PICTURES) and is_dicom(path):
        return DICOM
    return known


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} is not there. Check the data folder's path.")


def _as_film(image: Image, path: Path) -> Image:
    """Return an image whose channels are moments as the slices of all its frames."""
    frames, depth, height, width = image.values.shape
    geometry = image.geometry
    assert isinstance(geometry, VolumeGeometry)
    warnings.warn(
        f"{path} is a film of {frames} frames (its header says that the fourth axis is time): "
        "each frame is predicted by itself.",
        stacklevel=2,
    )
    film = FilmGeometry(geometry.grid, geometry.plane, frames)
    return Image(image.values.reshape(1, frames * depth, height, width), film, path)


def _check_finite(path: Path, values: np.ndarray, holds: Holds) -> None:
    if values.dtype.kind != "f":
        return
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        outside = " If NaN marks what lies outside the body, set data.nan: background."
        raise DataError(
            f"{path} has {bad} voxels that are NaN or infinite, but only finite numbers are "
            "wanted. Mend the file, or take it out."
            + (outside if holds == "image" and np.isnan(values).any() else "")
        )
