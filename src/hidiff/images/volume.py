"""Volumes: files to voxels on a grid. To add a format, write a reader and one line here."""

from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.images.arrays import HDF5, is_array_volume, read_array_grid, read_array_volume
from hidiff.images.dicom import is_dicom, read_dicom, read_dicom_grid
from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.grid import Grid, same_place
from hidiff.images.metaimage import read_metaimage, read_metaimage_grid
from hidiff.images.nifti import read_nifti, read_nifti_grid
from hidiff.images.nrrd import read_nrrd, read_nrrd_grid
from hidiff.images.pictures import ARRAYS, PICTURES
from hidiff.images.voxels import Holds, Volume, VolumeFormat

NIFTI = VolumeFormat(read_nifti, read_nifti_grid)
NRRD = VolumeFormat(read_nrrd, read_nrrd_grid)
METAIMAGE = VolumeFormat(read_metaimage, read_metaimage_grid)
ARRAY = VolumeFormat(read_array_volume, read_array_grid)
DICOM = VolumeFormat(read_dicom, read_dicom_grid)

# By ending. Arrays are volumes if they hold enough axes; a folder, or a file of another ending (as
# scanners write them), is DICOM if it says so itself.
FORMATS: dict[str, VolumeFormat] = {
    ".nii.gz": NIFTI,
    ".nii": NIFTI,
    ".nrrd": NRRD,
    ".nhdr": NRRD,
    ".mha": METAIMAGE,
    ".mhd": METAIMAGE,
    **dict.fromkeys(HDF5, ARRAY),
    ".dcm": DICOM,
}


def is_volume(image: ImageFiles) -> bool:
    """Whether an image is a volume, by its file's name, of arrays and DICOM by what it holds.

    Of several files the first tells.
    """
    path = first_file(image)
    if path.suffix.lower() in ARRAYS:
        return is_array_volume(path)
    return _format(path) is not None


def is_dicom_volume(image: ImageFiles) -> bool:
    """Whether a volume is DICOM: then masks of it may be, too."""
    return _format(first_file(image)) is DICOM


def read_volume(image: ImageFiles, channels: int) -> Volume:
    """An image of one file, or of a file a channel, all on one grid."""
    volume = read_any_volume(image)
    if len(volume.values) != channels:
        beside = f" and the {len(image) - 1} beside it" if isinstance(image, tuple) else ""
        raise DataError(
            f"{volume.path}{beside}: {len(volume.values)} channels came, but {channels} are "
            "wanted. Set data.channels to what the files hold, or give a file for every channel."
        )
    return volume


def read_any_volume(image: ImageFiles) -> Volume:
    """As `read_volume`, with as many channels as there are."""
    files = image if isinstance(image, tuple) else (image,)
    volumes = [_read(Path(file), "image") for file in files]
    first = volumes[0]
    for other in volumes[1:]:
        _check_same_place(other, first.grid, first.path)
    values = first.values
    if len(volumes) > 1:
        values = np.concatenate([volume.values for volume in volumes])
    _check_finite(first.path, values)
    return Volume(values, first.grid, first.path)


def read_volume_mask(path: Path | str, grid: Grid, image: Path | str) -> Num[np.ndarray, "x y z"]:
    """A mask's values; `grid` is that of its `image`.

    Whole numbers that are stored as floats are taken for what they are.
    """
    mask = _read(Path(path), "mask")
    if len(mask.values) != 1:
        raise DataError(
            f"{path} is a mask of {len(mask.values)} volumes (4-D), but one value a voxel is "
            "wanted. Write overlapping regions as values of one volume."
        )
    _check_same_place(mask, grid, image)
    values = mask.values[0]
    _check_finite(mask.path, values)
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            odd = values[whole != values].flat[0]
            raise DataError(
                f"{path} holds fractions such as {odd:g}, but a mask holds whole numbers, one a "
                "class. It may have been resampled as an image: resample it by nearest neighbour."
            )
        values = whole.astype(np.int32)
    return values


def read_grid(path: Path | str) -> Grid:
    """The grid of a volume, from the head alone."""
    return _known(Path(path)).read_grid(Path(path), "image")


def volume_stem(path: Path | str) -> str:
    """A volume's name without its ending: patient1 of patient1.nii.gz; a folder's whole name."""
    path = Path(path)
    endings = [ending for ending in (*FORMATS, *ARRAYS) if path.name.lower().endswith(ending)]
    if path.is_dir() or not endings:
        return path.name
    return path.name[: -len(max(endings, key=len))]


def _format(path: Path) -> VolumeFormat | None:
    name = path.name.lower()
    if name.endswith(ARRAYS):
        return ARRAY
    known = next((FORMATS[ending] for ending in FORMATS if name.endswith(ending)), None)
    if known is None and not name.endswith(PICTURES) and is_dicom(path):
        return DICOM
    return known


def _known(path: Path) -> VolumeFormat:
    if not path.exists():
        raise DataError(f"{path} is not there. Check the data folder's path.")
    format = _format(path)
    if format is None:
        raise DataError(
            f"{path} is no volume of a known kind: {', '.join((*FORMATS, *ARRAYS))}, or a folder "
            "of DICOM, is wanted. Convert it."
        )
    return format


def _read(path: Path, holds: Holds) -> Volume:
    return _known(path).read(path, holds)


def _check_same_place(volume: Volume, theirs: Grid, image: Path | str) -> None:
    ours = volume.grid
    if same_place(ours, theirs):
        return
    if ours.shape != theirs.shape:
        came, wanted = ("x".join(map(str, grid.shape)) for grid in (ours, theirs))
    else:
        came, wanted = (_place(grid) for grid in (ours, theirs))
    raise DataError(
        f"{volume.path} lies on another grid than {image}: {came} against {wanted}. Resample "
        "one onto the other's grid (masks by nearest neighbour)."
    )


def _place(grid: Grid) -> str:
    spacing = ", ".join(f"{side:.4g}" for side in grid.spacing_mm)
    origin = ", ".join(f"{side:.4g}" for side in grid.affine[:3, 3])
    return f"spacing ({spacing}) mm from ({origin}) mm"


def _check_finite(path: Path, values: np.ndarray) -> None:
    if values.dtype.kind != "f":
        return
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(
            f"{path} has {bad} voxels that are NaN or infinite, but only finite numbers are "
            "wanted. Mend the file, or take it out."
        )
