"""Open an image in whatever form it is given: files, bytes, open files, arrays, pictures.

Bytes are read by the readers of files, through a file that is deleted at once: each reader's checks
hold for them too.
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num
from PIL import Image as Pillow

from hidiff.images.files import DataError
from hidiff.images.formats import image_stem, read_image
from hidiff.images.grid import Plane
from hidiff.images.image import Image
from hidiff.images.in_memory import COLOUR, image_of_array, image_of_nibabel, image_of_picture
from hidiff.images.voxels import Nan

# Files (a tuple: a file per channel), an array or tensor, bytes, an open file, a picture of Pillow,
# an image of nibabel, or an Image. Any, as neither torch nor nibabel is imported here.
GivenImage = Any

# The first bytes of a file -> an ending by which its reader is found.
SIGNATURES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
    b"\x1f\x8b": ".nii.gz",
    b"NRRD": ".nrrd",
    b"\x89HDF": ".h5",
    b"ObjectType": ".mha",
    b"NDims": ".mha",
}


def open_image(
    image: GivenImage,
    channels: int,
    plane: Plane = "axial",
    nan: Nan = "refused",
    *,
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
) -> Image:
    """Return an image of that many channels, in whatever form it is given.

    `nan` says what NaN in a volume's file means. `spacing_mm` or `affine` make a volume of an
    array; everything else knows its own.
    Raises ValueError for an image that does not fit.
    """
    if isinstance(image, np.ndarray) or _is_tensor(image):
        return image_of_array(image, channels, spacing_mm=spacing_mm, affine=affine, plane=plane)
    if spacing_mm is not None or affine is not None:
        raise ValueError(
            f"spacing_mm and affine are for arrays, but a {type(image).__name__} came, which says "
            "itself where its voxels lie. Leave them out."
        )
    if isinstance(image, Image):
        return _check_image(image, channels)
    if isinstance(image, str | Path | tuple):
        return _warn_of_grey(read_image(image, channels, plane, nan), channels)
    if isinstance(image, Pillow.Image):
        return _warn_of_grey(image_of_picture(image, channels), channels)
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        return image_of_nibabel(image, channels, plane)
    if hasattr(image, "read"):
        image = image.read()
    if isinstance(image, bytes | bytearray | memoryview):
        return _warn_of_grey(_read_bytes(bytes(image), channels, plane, nan), channels)
    raise ValueError(
        f"the image is a {type(image).__name__}, but a path, an array (h, w, channels), a tensor, "
        "bytes, an open file, a picture of Pillow or an image of nibabel is wanted."
    )


def name_of(image: GivenImage) -> str:
    """Return the file name of an image, without its ending; "" if it comes from no file."""
    if isinstance(image, Image):
        return "" if image.path is None else image_stem(image.path)
    if isinstance(image, str | Path | tuple):
        return image_stem(image)
    if hasattr(image, "get_filename"):  # of nibabel
        file = image.get_filename()
    else:  # of Pillow, of an open file
        file = getattr(image, "filename", None) or getattr(image, "name", None)
    return image_stem(Path(file)) if isinstance(file, str | Path) and str(file) else ""


def _read_bytes(content: bytes, channels: int, plane: Plane, nan: Nan) -> Image:
    ending = _ending_of(content)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"image{ending}"
        file.write_bytes(content)
        try:
            image = read_image(file, channels, plane, nan)
        except DataError as error:
            raise DataError(str(error).replace(str(file), "the image")) from None
    return replace(image, path=None)


def _ending_of(content: bytes) -> str:
    if not content:
        raise DataError("the image holds no bytes. An open file may stand at its end: seek(0).")
    if content[128:132] == b"DICM":
        return ".dcm"
    if content[344:347] in (b"n+1", b"ni1"):
        return ".nii"
    for signature, ending in SIGNATURES.items():
        if content.startswith(signature):
            return ending
    raise DataError(
        f"the image's bytes begin with {content[:8]!r}, which is no known kind of file: "
        f"{', '.join(dict.fromkeys(SIGNATURES.values()))}, .nii and .dcm are. Give a whole file's "
        "content, or its path; of bare pixels make an array."
    )


def _check_image(image: Image, channels: int) -> Image:
    came = len(image.values)
    if came != channels:
        raise ValueError(
            f"the image has {came} channels, but the model was trained on {channels}. Give it "
            "the same channels in the same order."
        )
    if not np.isfinite(image.values).all():
        raise ValueError("the image holds NaN or infinite values. Replace them.")
    return image


def _warn_of_grey(image: Image, channels: int) -> Image:
    """Warn of a grey picture for a model of colour, which may find far less in it."""
    if channels != COLOUR or image.grid is not None:
        return image
    red, green, blue = image.values
    if np.array_equal(red, green) and np.array_equal(red, blue) and red.min() < red.max():
        warnings.warn(
            "the picture is grey, but the model was trained on three channels, so all three are "
            "given the same values. If it was trained on colour, it can miss much here.",
            stacklevel=4,
        )
    return image


def _is_tensor(image: object) -> bool:
    return type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach")
