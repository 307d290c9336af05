"""Read colour and alpha PNGs of 16 bits, whose values Pillow would cut to 8 bits."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image, ImageOps

# How Pillow unpacks such a file, and how it unpacks the two bytes of every value instead: their
# high and low bytes one after the other, or all four bytes of grey and alpha as four channels.
BYTES_OF = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}


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


def _read_bytes(path: Path, unpacked: str) -> np.ndarray:
    with Image.open(path, formats=("PNG",)) as image:
        image.tile = [tile._replace(args=unpacked) for tile in image.tile]
        image.load()
        return np.asarray(ImageOps.exif_transpose(image))
