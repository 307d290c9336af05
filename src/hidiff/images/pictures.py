"""Read pictures and small arrays: raw values in row, column order."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num
from PIL import Image, ImageOps, UnidentifiedImageError

from hidiff.images.files import DataError
from hidiff.images.pillow_gaps import as_meant, is_deep, read_deep_png

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp")
ARRAYS = (".npy", ".npz")
# Pillow goes by what a file holds, not by its ending, and knows formats that start other programs.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP")
# A few kilobytes can unpack to terabytes. Above this Pillow itself warns; 9459x9459 is below it.
MOST_PIXELS = 89_478_485
MOST_BYTES = 2**30  # of an array
# modes of 8 bits, which Pillow also gives to files of 16
CUT_TO_8_BITS = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "LA", "La")

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow has it


def read_planes(path: Path | str) -> Num[np.ndarray, "c h w"]:
    """Read an image's values as they lie in the file: its own channels and type of number."""
    path = Path(path)
    if path.suffix.lower() in ARRAYS:
        planes = read_array(path)
        planes = planes[None] if planes.ndim == 2 else planes
        wanted = "an array of (h, w) or (c, h, w)"
    else:
        pixels = read_pixels(path, _expand_palette)
        planes = pixels[None] if pixels.ndim == 2 else drop_alpha(pixels).transpose(2, 0, 1)
        wanted = "a grey or colour picture"
    if planes.ndim != 3:
        raise DataError(f"{path} has the shape {planes.shape}, but {wanted} is wanted. Convert it.")
    return planes.astype(np.uint8) if planes.dtype == bool else planes


def read_open_picture(picture: Image.Image, channels: int) -> Float[np.ndarray, "c h w"]:
    """Read the raw values of a picture that Pillow holds open, as those of a file are read."""
    check_whole_values("the picture", picture)
    pixels = np.asarray(_expand_palette(ImageOps.exif_transpose(picture)))
    planes = pixels[None] if pixels.ndim == 2 else drop_alpha(pixels).transpose(2, 0, 1)
    values = np.ascontiguousarray(planes, dtype=np.float32)
    check_finite("the picture", values)
    return match_channels("the picture", values, channels)


def read_size(path: Path | str) -> tuple[int, int]:
    """Read rows and columns as they lie in the file, from the head of a picture alone."""
    path = Path(path)
    if path.suffix.lower() in ARRAYS:
        height, width = read_array(path).shape[-2:]
        return height, width
    _check_exists(path)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.height, picture.width
    except Exception as error:  # see read_pixels
        raise DataError(
            f"{path} cannot be read ({error}). Copy it again, or take it out."
        ) from None


def read_pixels(path: Path, convert: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return (row, column) or (row, column, channel); the first frame of an animation."""
    _check_exists(path)
    try:
        with warnings.catch_warnings():
            # _load refuses such a picture, in words of its own
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Given a path, Pillow maps TIFFs into memory, and garbles those turned by a quarter.
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
                packed = _packed_as(image)
                _check_size(path, image)
                if is_deep(image, packed):
                    return read_deep_png(path, packed)
                loaded = _load(path, image, packed)
                pixels = as_meant(path, image, packed, np.asarray(convert(loaded)))
    except DataError:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, at twice ours
        raise _too_large(path, "far larger than that") from None
    except Exception as error:  # Pillow has a type for each way a file can be wrong
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it begins like none that Pillow knows" if unknown else error
        raise DataError(
            f"{path} cannot be read as a picture ({reason}). It may be cut off or another kind of "
            f"file; wanted is one of {', '.join(PICTURES)}. Copy it again, or take it out."
        ) from None
    return pixels


def _check_size(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(path, f"{image.height}x{image.width}")


def _load(path: Path, image: Image.Image, packed: str) -> Image.Image:
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        raise DataError(
            f"{path} holds {getattr(image, 'n_frames', 1)} pages, but one image is wanted. "
            "Write each page to a file of its own."
        )
    check_whole_values(path, image)
    with image:
        image.load()
        loaded = ImageOps.exif_transpose(image)
    loaded.format = image.format
    loaded.info["packed"] = packed
    return loaded


def check_whole_values(path: Path | str, image: Image.Image) -> None:
    """Raise DataError if loading an opened picture would cut its 16 bits to 8."""
    if ";16" in _packed_as(image) and image.mode in CUT_TO_8_BITS:
        raise DataError(
            f"{path} is a {image.format} in colour or with alpha of 16 bits, which Pillow would "
            "cut to 8. Give the path of a PNG, an array (npy, c h w), or 8 bits."
        )


def _packed_as(image: Image.Image) -> str:
    """Return how the file packs pixels, in Pillow's words such as "L;4"; before it is loaded."""
    tiles = getattr(image, "tile", None) or ()
    if not tiles:
        return ""
    arguments = tiles[0][3]
    parts = arguments if isinstance(arguments, tuple) else (arguments,)
    return next((part for part in parts if isinstance(part, str) and ";" in part), "")


def _expand_palette(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA"):
        return _grey_if_equal(image.convert("RGB"))
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    return image


def _grey_if_equal(image: Image.Image) -> Image.Image:
    """Return a palette of greys (common in GIF) as a grey picture."""
    red, green, blue = (np.asarray(plane) for plane in image.split())
    same = np.array_equal(red, green) and np.array_equal(green, blue)
    return image.convert("L") if same else image


def read_array(path: Path) -> np.ndarray:
    _check_exists(path)
    try:
        # mapped: what a header claims beyond the file's length is an error, not an allocation
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            _check_bytes(path, loaded.nbytes)
            array = np.array(loaded)
        else:
            with loaded:
                if len(loaded.files) != 1:
                    raise DataError(
                        f"{path} holds the arrays {', '.join(loaded.files) or 'none'}, but one is "
                        "wanted. Save each image in a file of its own."
                    )
                # absent for an archive that numpy has not opened as such
                if loaded.zip is not None:
                    _check_bytes(path, sum(entry.file_size for entry in loaded.zip.infolist()))
                array = loaded[loaded.files[0]]
    except DataError:
        raise
    except Exception as error:  # numpy too, down to those of Python's tokenizer
        raise DataError(
            f"{path} cannot be read as an array ({error}). It may be cut off, or hold Python "
            "objects, which are never unpickled. Save it again as plain numbers."
        ) from None
    if array.dtype.kind not in "buif":
        raise DataError(f"{path} holds {array.dtype}, but numbers are wanted. Save it as numbers.")
    return array


def _too_large(path: Path, came: str) -> DataError:
    return DataError(
        f"{path} is {came}, but at most {MOST_PIXELS} pixels are read, as a small file may hold "
        "more than the memory holds. Cut it in pieces."
    )


def _check_bytes(path: Path, count: int) -> None:
    if count > MOST_BYTES:
        raise DataError(
            f"{path} unpacks to {count / 2**30:.1f} GiB, but at most {MOST_BYTES / 2**30:g} GiB "
            "are read. Save fewer values in a file, or as a smaller type."
        )


def drop_alpha(pixels: np.ndarray) -> np.ndarray:
    """Drop the alpha channel: h w 2 becomes h w 1, and h w 4 becomes h w 3."""
    return pixels[..., :-1] if pixels.shape[-1] in (2, 4) else pixels


def match_channels(
    path: Path | str, values: Float[np.ndarray, "came h w"], channels: int
) -> Float[np.ndarray, "c h w"]:
    came = values.shape[0]
    if came == channels:
        return values
    if came == 1 and channels == 3:
        return np.repeat(values, 3, axis=0)
    if came == 3 and channels == 1:
        return np.tensordot(_LUMA, values, axes=1)[None]
    raise DataError(
        f"{path} has {came} channels, but {channels} are wanted. "
        "Set the data's channels to what the files hold, or convert them."
    )


def check_finite(path: Path | str, values: np.ndarray) -> None:
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(
            f"{path} has {bad} values that are NaN or infinite, but only finite numbers are "
            "wanted. Mend the file, or take it out."
        )
    if values.size == 0:
        raise DataError(f"{path} is empty (shape {values.shape}). Copy it again, or take it out.")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is not there, or is no file. Check the data folder's path.")
