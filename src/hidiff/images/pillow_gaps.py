"""Values that Pillow would cut to 8 bits, wrap around or leave inverted."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image, ImageOps

from hidiff.images.files import DataError

# How Pillow unpacks such a file, and how it unpacks the two bytes of every value instead: their
# high and low bytes one after the other, or all four bytes of grey and alpha as four channels.
BYTES_OF = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}

# TIFF's tag, and what it may say
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0


def is_deep(image: Image.Image, packed: str) -> bool:
    """Return whether an opened picture, packed in Pillow's word for it, is such a PNG."""
    return image.format == "PNG" and packed in BYTES_OF


def read_deep_png(path: Path, packed: str) -> UInt16[np.ndarray, "h w c"]:
    """Read the values of a PNG of 16 bits, alpha last, the camera's orientation applied."""
    planes = [_read_bytes(path, unpacked) for unpacked in BYTES_OF[packed]]
    if len(planes) == 2:
        high, low = planes
    else:  # grey high, grey low, alpha high, alpha low
        high, low = planes[0][..., 0::2], planes[0][..., 1::2]
    return high.astype(np.uint16) * 256 + low


def as_meant(path: Path, image: Image.Image, packed: str, pixels: np.ndarray) -> np.ndarray:
    """Return a TIFF's values as its header means them; of other pictures the values themselves.

    Pillow reads unsigned numbers of 32 bits as signed ones, and turns brightness over that begins
    with white (photometric interpretation 0) up to 8 bits only. Raises DataError for such a picture
    of floats, whose black nobody knows.
    """
    if image.format != "TIFF":
        return pixels
    if packed.startswith("I;32") and packed.endswith("N"):
        pixels = pixels.view(np.uint32)
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC, 1) != WHITE_IS_ZERO or pixels.dtype.itemsize == 1:
        return pixels
    if pixels.dtype != np.uint16:
        raise DataError(
            f"{path} is a TIFF where 0 is white (photometric interpretation 0) of {pixels.dtype}, "
            "and nobody knows which number is black. Save it with 0 as black."
        )
    return np.uint16(65535) - pixels


def _read_bytes(path: Path, unpacked: str) -> np.ndarray:
    with Image.open(path, formats=("PNG",)) as image:
        image.tile = [tile._replace(args=unpacked) for tile in image.tile]
        image.load()
        return np.asarray(ImageOps.exif_transpose(image))
