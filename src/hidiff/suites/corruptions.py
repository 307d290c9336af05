"""Corruptions of pictures by cameras and endoscopes, at five strengths, equal at every call."""

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import gaussian_filter

from hidiff.seeding import derive

Picture = Float[np.ndarray, "c h w"]
STRENGTHS = (1, 2, 3, 4, 5)
FULL = 255.0
REFERENCE_SIDE = 256  # pixels; blur is meant for pictures of this shorter side, and grows with it


def corrupt(image: Picture, kind: str, strength: int, name: str) -> Picture:
    """Return a picture of values 0..255 under a corruption of CORRUPTIONS.

    `name` is the case's: its noise is a function of that alone. Raises ValueError for a kind,
    strength or picture that does not fit.
    """
    check_corruption(kind, strength)
    if image.min() < 0 or image.max() > FULL:
        raise ValueError(
            f"{name}: values run from {image.min():g} to {image.max():g}, but corruptions are of "
            "pictures of 0..255. Scale it before."
        )
    change, amounts = CORRUPTIONS[kind]
    return change(image, amounts[strength - 1], name).clip(0, FULL).astype(np.float32)


def check_corruption(kind: str, strength: int) -> None:
    """Raise ValueError for a kind or a strength that does not exist."""
    if kind not in CORRUPTIONS:
        raise ValueError(f"corruption is {kind!r}, but must be one of {', '.join(CORRUPTIONS)}")
    if strength not in STRENGTHS:
        raise ValueError(f"strength is {strength}, but must be 1 (slight) to 5 (strong)")


def blur(image: Picture, sigma: float, name: str) -> Picture:
    """Blur as a lens out of focus: Gaussian, in pixels of an image whose shorter side has 256."""
    pixels = sigma * min(image.shape[1:]) / REFERENCE_SIDE
    return gaussian_filter(image, (0, pixels, pixels), mode="nearest")


def noise(image: Picture, deviation: float, name: str) -> Picture:
    """Add Gaussian noise to each pixel and channel, as a sensor in the dark does."""
    draws = np.random.Generator(np.random.Philox(key=derive(0, "corruption", name)))
    return image + FULL * deviation * draws.standard_normal(image.shape, dtype=np.float32)


def contrast(image: Picture, share: float, name: str) -> Picture:
    """Flatten the light: keep this share of the distance to each channel's mean."""
    mean = image.mean(axis=(1, 2), keepdims=True)
    return mean + share * (image - mean)


def jpeg(image: Picture, quality: float, name: str) -> Picture:
    """Compress a picture as JPEG of low quality."""
    pixels = np.round(image).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(
        file, "JPEG", quality=int(quality)
    )
    decoded = np.asarray(Image.open(file, formats=("JPEG",)), dtype=np.float32)
    return decoded.reshape(*image.shape[1:], len(image)).transpose(2, 0, 1)


def resolution(image: Picture, factor: float, name: str) -> Picture:
    """Average down by the factor, and interpolate up again, as a coarser sensor would."""
    height, width = image.shape[1:]
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    planes = [
        Image.fromarray(plane.astype(np.float32))
        .resize(small, Image.Resampling.BOX)
        .resize((width, height), Image.Resampling.BICUBIC)
        for plane in image
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def colour_cast(image: Picture, share: float, name: str) -> Picture:
    """Tint the picture as another lamp would: more red, less blue."""
    if len(image) != 3:
        raise ValueError(
            f"{name} has {len(image)} channels, but a colour cast is of 3. Leave it out here."
        )
    gains = np.array([1 + share, 1, 1 - share], dtype=np.float32)
    return image * gains[:, None, None]


# The change, and its amount at each strength. Ours, chosen by eye: 1 is hardly seen, at 5 a doctor
# would take the picture again.
CORRUPTIONS: dict[str, tuple[Callable[[Picture, float, str], Picture], tuple[float, ...]]] = {
    "blur": (blur, (0.5, 1.0, 1.5, 2.5, 4.0)),
    "noise": (noise, (0.02, 0.04, 0.08, 0.12, 0.18)),
    "contrast": (contrast, (0.8, 0.6, 0.45, 0.3, 0.2)),
    "jpeg": (jpeg, (60.0, 40.0, 25.0, 15.0, 8.0)),
    "resolution": (resolution, (1.5, 2.0, 3.0, 4.0, 6.0)),
    "colour_cast": (colour_cast, (0.05, 0.1, 0.2, 0.3, 0.4)),
}
