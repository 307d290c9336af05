"""A mask's values as they were meant: whole numbers, and what its file's format did to them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Num
from PIL import Image

from hidiff.images.files import DataError
from hidiff.images.pictures import FORMATS, PICTURES

# Floats so near to a whole number are it: scale factors of headers and resampling leave such.
NEARLY_WHOLE = 1e-3
ORIENTATION = 0x0112  # EXIF's tag: 1 is upright, 2 to 8 are turned or mirrored


@dataclass(frozen=True)
class PictureTraits:
    """The traits of a picture file that decide what its values mean."""

    lossy: bool = False
    """compressed as JPEG, which changes values"""
    palette: bool = False
    """values are numbers of a palette's colours"""
    alpha: bool = False
    """has an alpha channel that is not opaque everywhere"""
    colours: tuple[int, ...] = ()
    """red, green and blue of each entry of the palette"""
    turned: bool = False
    """is turned or mirrored by the orientation that a camera wrote (EXIF)"""


def picture_traits(path: Path | str) -> PictureTraits:
    """Return a picture's traits, by what the file holds and not by its ending.

    A volume, an array and a file that does not read have none of them.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        return PictureTraits()
    try:
        with Image.open(path, formats=FORMATS) as picture:
            lossy = picture.format == "JPEG" or picture.info.get("compression") in ("jpeg", "webp")
            # a GIF has a palette always, and greys in it are greys
            palette = picture.mode in ("P", "PA") and picture.format != "GIF"
            return PictureTraits(
                lossy,
                palette,
                alpha=_has_alpha(picture),
                colours=tuple(picture.getpalette() or ()) if palette else (),
                turned=picture.getexif().get(ORIENTATION, 1) in range(2, 9),
            )
    except Exception:  # Pillow has a type for each way a file can be wrong; reading it will tell
        return PictureTraits()


def _has_alpha(picture: Image.Image) -> bool:
    if picture.mode not in ("LA", "RGBA", "PA"):
        return False
    lowest, _ = picture.getchannel("A").getextrema()
    return float(lowest) < 255  # type: ignore[arg-type]  # a single band has one pair of numbers


def whole_numbers(path: Path | str, values: Num[np.ndarray, "*space"]) -> Num[np.ndarray, "*space"]:
    """Return a mask's floats as the integers that they are within 1e-3; others as they come.

    Raises DataError for a fraction.
    """
    if values.dtype.kind != "f":
        return values
    whole: Integer[np.ndarray, "*space"] = np.rint(values)
    apart = np.abs(values - whole)
    if apart.size and apart.max() > NEARLY_WHOLE:
        odd, count = values.flat[apart.argmax()], np.count_nonzero(apart > NEARLY_WHOLE)
        raise DataError(
            f"{path} holds fractions such as {odd:.9g} ({count} of {values.size} values lie more "
            f"than {NEARLY_WHOLE:g} from a whole number), but a mask holds whole numbers, one a "
            "class. It may have been resampled as an image: resample it by nearest neighbour."
        )
    return whole.astype(np.int64 if np.abs(whole).max(initial=0) >= 2**31 else np.int32)
