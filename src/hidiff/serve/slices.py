"""Slices as pictures that a browser shows."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image as Pillow

from hidiff.images import Image, Intensity

COLOUR = 3
FAST = 1  # zlib's level: a third larger than the default, and five times faster
AIR = -500.0  # Hounsfield units: a volume with values below it is CT


@dataclass(frozen=True)
class View:
    """The raw values of an image, and the range that is shown from black to white."""

    values: Num[np.ndarray, "c d h w"]
    low: float
    high: float
    lowest: float
    highest: float
    is_ct: bool

    def png(self, number: int, low: float | None = None, high: float | None = None) -> bytes:
        """Return one slice as a PNG, in colour if it has three channels."""
        planes = self.values[:, number]
        low, high = self.low if low is None else low, self.high if high is None else high
        return encode_png(to_bytes(planes if len(planes) == COLOUR else planes[:1], low, high))


def view_of(image: Image, intensity: Intensity) -> View:
    """Return how an image is shown at first: as the model was trained, or without its outliers."""
    values = image.values
    lowest, highest = float(values.min()), float(values.max())
    is_ct = image.grid is not None and lowest < AIR
    if intensity.window is not None:
        low, high = intensity.window
    elif is_ct:
        low, high = -160.0, 240.0  # soft tissue
    elif intensity.kind == "unit":
        low, high = 0.0, intensity.full_scale
    else:
        step = max(1, values.size // 1_000_000)
        low, high = (float(end) for end in np.percentile(values.reshape(-1)[::step], (0.5, 99.5)))
    return View(values, low, max(high, low + 1e-6), lowest, highest, is_ct)


def to_bytes(
    planes: Num[np.ndarray, "c h w"], low: float, high: float
) -> UInt8[np.ndarray, "c h w"]:
    """Return values from `low` to `high` as 0 to 255; what lies beyond is cut."""
    if (low, high) == (0, 255) and planes.dtype == np.uint8:
        return planes
    scaled = (planes.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def share_to_bytes(share: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Return 0..1 as 0..255."""
    return to_bytes(share[None], 0.0, 1.0)[0]


def encode_png(planes: UInt8[np.ndarray, "c h w"] | UInt8[np.ndarray, "h w"]) -> bytes:
    """Return bytes as a grey or a coloured PNG."""
    pixels = planes if planes.ndim == 2 else planes.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=FAST)
    return buffer.getvalue()
