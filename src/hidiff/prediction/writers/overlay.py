"""A picture to look a result over: contours of the classes, and the uncertainty in colour.

Two panels a slice: on the left the image with the contours, on the right in greys with the
uncertainty, which runs from invisible (none) over red to yellow (the most there can be). Of a
volume the slices that hold most are shown. Small images are enlarged, large ones made smaller.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from hidiff.images import read_image
from hidiff.prediction.prediction import Prediction
from hidiff.weights import atomic_write

Rgb = UInt8[np.ndarray, "h w 3"]
Joined = UInt8[np.ndarray, "rows columns 3"]

# Okabe and Ito's palette, which people with any colour vision can tell apart
# (https://jfly.uni-koeln.de/color/); then three more, as the abdomen has eight organs.
CLASSES = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # green
    (240, 228, 66),  # yellow
    (204, 121, 167),  # purple
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermillion
    (187, 187, 187),  # grey
    (150, 90, 50),  # brown
    (120, 80, 200),  # violet
)
CONTOURS = (*CLASSES[1:7], CLASSES[0], *CLASSES[7:])  # the eye and the bowel are orange themselves
RED, YELLOW = np.array([215.0, 30.0, 50.0]), np.array([255.0, 235.0, 60.0])
DARK = (22, 24, 29)
MOST_SLICES = 6
SIDES = (256, 1024)  # pixels: the longer side of a panel is brought between these
GAP = 4  # pixels between panels


def write_overlay(prediction: Prediction, path: Path) -> None:
    """Write the overlay of a prediction that was made from files, as PNG, whole or not at all."""
    image = draw_overlay(prediction)
    with atomic_write(path) as temporary:
        Pillow.fromarray(image).save(temporary, "PNG")


def draw_overlay(prediction: Prediction) -> Joined:
    """Return the overlay: a row for each slice shown, of two panels, and a legend below."""
    source = prediction.source
    if source is None:
        raise ValueError("an overlay shows the image, so the prediction must come from a file.")
    values = read_image(source, None, getattr(prediction.geometry, "plane", "axial")).values
    shown = visible(values)
    labels, bits = prediction.maps["labels"], prediction.maps["uncertainty"]
    masks = prediction.classes.class_masks(labels)
    share = bits.max(axis=0) if bits.ndim == 4 else bits
    share = np.clip(share.astype(np.float32) / prediction.most_bits, 0, 1)
    size = _panel_size(prediction)
    rows = []
    for number in fullest_slices(list(masks.values())):
        picture = _resize(shown[:, number].transpose(1, 2, 0), size, smooth=True)
        doubt = _resize(share[number], size, smooth=True)
        outlined, tinted = picture.copy(), tint(grey_of(picture), doubt)
        for index, mask in enumerate(masks.values()):
            edge = outline(_resize(mask[number], size, smooth=False), max(1, max(size) // 400))
            outlined[edge] = CONTOURS[index % len(CONTOURS)]
        caption = prediction.geometry.slice_title(prediction.name, number)
        rows.append(_with_caption(_beside([outlined, tinted]), caption))
    columns = 1 if len(rows) < 4 else 2
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    pairs = [_beside(rows[first : first + columns]) for first in range(0, len(rows), columns)]
    names = prediction.classes.class_names
    return np.concatenate([*pairs, draw_legend(names, pairs[0].shape[1], prediction.most_bits)])


def fullest_slices(masks: list[Bool[np.ndarray, "d h w"]], most: int = MOST_SLICES) -> list[int]:
    """Return the slices with the most labelled pixels, in order; evenly spread ones if all are
    empty.
    """
    counts = np.sum([mask.sum(axis=(1, 2)) for mask in masks], axis=0)
    if not counts.any():
        return sorted(set(np.linspace(0, len(counts) - 1, most + 2).round().astype(int)[1:-1]))
    chosen = np.argsort(-counts, kind="stable")[:most]
    return sorted(int(number) for number in chosen if counts[number])


def visible(values: Num[np.ndarray, "c d h w"]) -> UInt8[np.ndarray, "3 d h w"]:
    """Return an image as colours: 8 bits as they are, others from their 0.5th to 99.5th percentile.

    Of images that are neither grey nor colour the first channel is shown.
    """
    values = values[:3] if len(values) == 3 else values[:1]
    if values.dtype != np.uint8:
        low, high = np.percentile(values[np.isfinite(values)], [0.5, 99.5])
        scaled = (values.astype(np.float32) - low) / max(high - low, 1e-6)
        values = (np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(values, (3, *values.shape[1:]))


def grey_of(picture: Rgb) -> Rgb:
    """Return a picture in greys, so that colour on it means uncertainty alone."""
    return np.array(Pillow.fromarray(picture).convert("L").convert("RGB"))


def tint(picture: Rgb, share: Float[np.ndarray, "h w"]) -> Rgb:
    """Return the picture under the uncertainty: 0 shows the picture, 1 hides it under yellow."""
    weight = np.sqrt(share)[..., None]  # small doubts would not be seen otherwise
    colour = RED + (YELLOW - RED) * share[..., None]
    return (picture * (1 - weight) + colour * weight).round().astype(np.uint8)


def outline(mask: Bool[np.ndarray, "h w"], width: int = 1) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of a mask that lie within `width` pixels of its edge."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, constant_values=True)  # the image's border is no edge
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _panel_size(prediction: Prediction) -> tuple[int, int]:
    """Return rows and columns of a panel, in the proportions that the image has in millimetres."""
    height, width = (float(side) for side in prediction.geometry.size)
    spacing = prediction.geometry.spacing_mm
    if spacing is not None:
        height, width = height * spacing[1], width * spacing[2]
        finest = min(spacing[1:])
        height, width = height / finest, width / finest
    longest = max(height, width)
    scale = np.clip(longest, *SIDES) / longest
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize(
    values: UInt8[np.ndarray, "h w 3"] | Bool[np.ndarray, "h w"] | Float[np.ndarray, "h w"],
    size: tuple[int, int],
    *,
    smooth: bool,
) -> np.ndarray:
    method = Pillow.Resampling.BILINEAR if smooth else Pillow.Resampling.NEAREST
    byte = values.astype(np.uint8) if values.dtype == bool else values
    resized = np.array(
        Pillow.fromarray(np.ascontiguousarray(byte)).resize((size[1], size[0]), method)
    )
    return resized.astype(values.dtype)


def _beside(panels: list[Rgb]) -> Joined:
    gap = np.zeros((panels[0].shape[0], GAP, 3), np.uint8)
    parts = [part for panel in panels for part in (panel, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _with_caption(picture: Rgb, text: str) -> Joined:
    strip = Pillow.new("RGB", (picture.shape[1], 22), DARK)
    ImageDraw.Draw(strip).text((6, 3), text, fill=(230, 230, 230), font=ImageFont.load_default(13))
    return np.concatenate([np.array(strip), picture])


def draw_legend(names: tuple[str, ...], width: int, most_bits: float | None = None) -> Rgb:
    """Return a strip with the colour of each class, and the scale of the uncertainty, if any."""
    font = ImageFont.load_default(13)
    lines: list[list[tuple[str, tuple[int, int, int]]]] = [[]]
    entries = [(name, CONTOURS[index % len(CONTOURS)]) for index, name in enumerate(names)]
    if most_bits is not None:
        unit = "bit" if most_bits == 1 else "bits"
        entries += [
            ("a little uncertain", _colour(RED)),
            (f"as uncertain as can be ({most_bits:.3g} {unit})", _colour(YELLOW)),
        ]
    used = 6.0
    for name, colour in entries:
        needed = font.getlength(name) + 34
        if used + needed > width and lines[-1]:
            lines.append([])
            used = 6.0
        lines[-1].append((name, colour))
        used += needed
    strip = Pillow.new("RGB", (width, 22 * len(lines)), DARK)
    pen = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        left = 6.0
        for name, colour in line:
            pen.rectangle((left, 22 * row + 5, left + 12, 22 * row + 16), fill=colour)
            pen.text((left + 18, 22 * row + 3), name, fill=(230, 230, 230), font=font)
            left += font.getlength(name) + 34
    return np.array(strip)


def _colour(values: Float[np.ndarray, "3"]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
