"""The table of file formats, and the functions that read any of them.

To add a format, write its reader and one line in the table: VOLUMES, or PICTURES for Pillow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num

from hidiff.images.arrays import is_array_volume
from hidiff.images.dicom import is_dicom
from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.geometry import Geometry
from hidiff.images.grid import Plane
from hidiff.images.image import Format, Image
from hidiff.images.names import NamedFiles, name_cases
from hidiff.images.picture_format import PICTURE
from hidiff.images.pictures import ARRAYS, PICTURES, read_planes
from hidiff.images.sequences import join_sequences
from hidiff.images.volume_format import ARRAY, DICOM, VOLUMES, find_volume_format
from hidiff.images.voxels import Nan, fill_nan

# By ending. Arrays are pictures or volumes by what they hold; a folder, or a file of another
# ending, is DICOM if it says so itself.
FORMATS: dict[str, Format] = {**dict.fromkeys(PICTURES, PICTURE), **VOLUMES}


def find_format(image: ImageFiles) -> Format | None:
    """Return the format of an image, of several files by the first; None for no known kind."""
    path = first_file(image)
    if path.is_dir():
        return DICOM if is_dicom(path) else None
    if path.suffix.lower() in ARRAYS:
        return ARRAY if is_array_volume(path) else PICTURE
    if path.suffix.lower() in PICTURES:
        return PICTURE
    return find_volume_format(path)


def format_of(image: ImageFiles) -> Format:
    """Return the format of an image; one of no known kind is tried as a picture."""
    return find_format(image) or PICTURE


def read_image(
    files: ImageFiles, channels: int | None, plane: Plane = "axial", nan: Nan = "refused"
) -> Image:
    """Read an image of one file, or of a file for each channel: raw values, slices first.

    Values are float32: 0..255 from 8 bits, 0..65535 from 16, scale factors of headers applied.
    Palettes are expanded, an alpha plane is dropped, the camera's orientation is applied. A grey
    picture becomes three equal channels if `channels` is 3, a coloured one becomes luma if it is 1.
    With `channels` None an image comes with as many as it has, in the file's own type of number.
    A NIfTI over time becomes the slices of all its frames if `channels` is 1. NaN is refused, or
    becomes background (`fill_nan`). Raises DataError for what does not read.
    """
    format = format_of(files)
    paths = [Path(file) for file in (files if isinstance(files, tuple) else (files,))]
    partners = [format, *(format.partner(path) for path in paths[1:])]
    parts = [
        partner.read(path, "image", plane) for partner, path in zip(partners, paths, strict=True)
    ]
    if nan == "background":
        parts = [replace(part, values=fill_nan(part.values)) for part in parts]
    stored = np.result_type(*(part.values.dtype for part in parts))
    return replace(format.join(parts, channels), stored=stored)


def read_geometry(files: ImageFiles, plane: Plane = "axial") -> Geometry:
    """Read how the slices of an image lie, from the head of its first file where there is one."""
    return format_of(files).read_geometry(first_file(files), plane)


def read_mask(path: Path | str, geometry: Geometry, image: ImageFiles) -> Num[np.ndarray, "d h w"]:
    """Read a mask's values, slices first; `geometry` is that of its `image`.

    A palette's values are its indices, but those of a GIF in greys are the greys. Raises DataError
    for a mask of another size, or on another grid.
    """
    return format_of(image).read_mask(Path(path), geometry, image)


def read_field_of_view(
    path: Path | str, geometry: Geometry, image: ImageFiles
) -> Bool[np.ndarray, "d h w"]:
    """Read which pixels count: those above half of the file's largest value.

    So 0/1, 0/255 and JPEG files are all read right.
    """
    values = read_mask(path, geometry, image)
    largest = values.max(initial=0)
    if largest <= 0:
        raise DataError(
            f"{path} marks no pixel, but a field of view marks those that count. "
            "Mend the file, or leave it out if all count."
        )
    return values > largest / 2


def image_stem(files: ImageFiles) -> str:
    """Return an image's name without its ending: patient1 of patient1.nii.gz."""
    return format_of(files).stem(first_file(files))


def find_mixture(images: Iterable[ImageFiles]) -> tuple[Path, Path] | None:
    """Return a picture and a volume where there are both; None for images of one kind."""
    seen: dict[str, Path] = {}
    for image in images:
        seen.setdefault(format_of(image).plural, first_file(image))
        if len(seen) > 1:
            first, second = seen.values()
            return first, second
    return None


def name_images(files: Sequence[Path], channels: int, source: str = "") -> list[NamedFiles]:
    """Return the cases that files of images are, for a model of so many channels: `name_cases`.

    `source` is the data set that the model was trained on, whose files may be named by sequence.
    """
    joined, others = join_sequences(files, source, image_stem)
    named = name_cases(
        others,
        channels,
        stem_of=lambda file: format_of(file).stem(file),
        holds_all=lambda file: _holds_all(file, channels),
    )
    order = {file: number for number, file in enumerate(files)}
    return sorted([*joined, *named], key=lambda case: order[case.files[0]]) if joined else named


def _holds_all(file: Path, channels: int) -> bool:
    """Return whether a file is an image of so many channels by itself.

    A series of DICOM is, and a picture for a model of colour, as grey becomes colour there.
    """
    format = format_of(file)
    if format.numbers_channels:
        return False
    if format is DICOM or channels == 3:
        return True
    try:
        return len(read_planes(file)) == channels
    except DataError:  # reported when it is predicted
        return False
