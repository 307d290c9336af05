"""Read masks from pictures: the values that were drawn, whatever the kind of picture."""

from pathlib import Path

import numpy as np
from jaxtyping import Num
from PIL import Image

from hidiff.images.files import DataError
from hidiff.images.pictures import ARRAYS, check_finite, drop_alpha, read_array, read_pixels

# Pillow stretches greys of few bits to 0..255: the factor of each
STRETCHED = {"L;2": 85, "L;4": 17}


def read_picture_mask(path: Path | str) -> Num[np.ndarray, "h w"]:
    """Read a mask's values as they lie in the file, for `Labels` to read.

    A palette's values are its indices, but those of a GIF in greys are the greys. Greys of 2 and 4
    bits are 0..3 and 0..15. Alpha is left out.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAYS:
        values = read_array(path)
    else:
        values = read_pixels(path, _keep_palette)
        if values.ndim == 3:
            _check_drawn(path, values)
            values = _collapse_equal(path, drop_alpha(values))
    if values.ndim != 2:
        raise DataError(
            f"{path} has the shape {values.shape}, but a mask is (h, w). "
            "Write overlapping regions as values of one plane."
        )
    check_finite(path, values)
    return values.astype(np.uint8) if values.dtype == bool else values


def _keep_palette(image: Image.Image) -> Image.Image:
    factor = STRETCHED.get(image.info.get("packed", "")[:3])
    if image.mode == "L" and factor:
        return Image.fromarray(np.asarray(image) // factor)
    if image.mode == "P" and _numbers_greys(image):
        return image.convert("L")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    return image.getchannel("P") if image.mode == "PA" else image


def _numbers_greys(image: Image.Image) -> bool:
    """Return whether a palette's indices are no classes, but numbers of greys.

    GIF knows no grey picture but by its palette, where white may well be index 0. Programs that
    make PNGs smaller number black and white in any order too.
    """
    palette = image.getpalette() or []
    greys = palette[0::3]
    if not greys or not (greys == palette[1::3] == palette[2::3]):
        return False
    return image.format == "GIF" or (greys[0] == 255 and 0 in greys)


def _check_drawn(path: Path, pixels: np.ndarray) -> None:
    """Raise DataError for a mask whose shapes lie in its alpha channel alone."""
    if pixels.shape[-1] not in (2, 4):
        return
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if alpha.min() < alpha.max() and (colours == colours[0, 0]).all():
        raise DataError(
            f"{path} is a mask of one colour, whose shapes are in its alpha channel, which is left "
            "out. Save it as grey values, with 0 as background."
        )


def _collapse_equal(path: Path, values: np.ndarray) -> np.ndarray:
    first = values[..., :1]
    if not (values == first).all():
        raise DataError(
            f"{path} is a mask in colour, but one value a pixel is wanted. "
            "Save it as grey values, or with a palette."
        )
    return first[..., 0]
