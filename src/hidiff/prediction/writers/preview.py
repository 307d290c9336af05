"""A small picture of a whole result: the classes in colour, on the image.

Of a volume three slices through the middle of what was found, one for each direction, in the
proportions that they have in millimetres; of a picture the picture itself.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num, Shaped
from PIL import Image as Pillow

from hidiff.images import read_image, to_slices
from hidiff.images.grid import PLANES, Grid, Plane
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.overlay import CONTOURS, Joined, draw_legend, grey_of, visible
from hidiff.weights import atomic_write

SIDE = 320  # pixels: the longer side of a panel
SHARE = 0.5  # of a class's colour over the image
GAP = 4  # pixels between panels


def write_preview(prediction: Prediction, path: Path) -> None:
    """Write the preview of a prediction that was made from files, as PNG, whole or not at all."""
    image = draw_preview(prediction)
    with atomic_write(path) as temporary:
        Pillow.fromarray(image).save(temporary, "PNG")


def draw_preview(prediction: Prediction) -> Joined:
    """Return the panels side by side, and a legend of the classes below."""
    if prediction.source is None:
        raise ValueError("a preview shows the image, so the prediction must come from a file.")
    geometry = prediction.geometry
    image = read_image(prediction.source, None, getattr(geometry, "plane", "axial"))
    shown = visible(image.values)
    masks = np.stack(list(prediction.classes.class_masks(prediction.maps["labels"]).values()))
    if geometry.grid is None or masks.shape[1:] != shown.shape[1:]:  # a picture, or a film
        panels = [_draw(shown[:, 0], masks[:, 0], (1.0, 1.0))]
    else:
        native = image.geometry.native
        panels = [
            _draw_plane(native(shown), geometry.native(masks), geometry.grid, plane)
            for plane in PLANES
        ]
    height = max(len(panel) for panel in panels)
    parts = [np.pad(panel, ((0, height - len(panel)), (0, GAP), (0, 0))) for panel in panels]
    joined = np.concatenate(parts, axis=1)
    return np.concatenate([joined, draw_legend(prediction.classes.class_names, joined.shape[1])])


def _draw_plane(
    image: Num[np.ndarray, "3 x y z"], masks: Bool[np.ndarray, "k x y z"], grid: Grid, plane: Plane
) -> Joined:
    """Return the slice of a plane through the middle of what was found."""
    slices, found = to_slices(image, grid, plane), to_slices(masks, grid, plane)
    counts = found.any(axis=0).sum(axis=(1, 2))
    number = _middle(counts)
    _, rows, columns = grid.slice_spacing_mm(plane)
    return _draw(slices[:, number], found[:, number], (rows, columns))


def _middle(counts: Shaped[np.ndarray, "d"]) -> int:
    """Return the slice with as much of what was found before it as behind it."""
    if not counts.any():
        return len(counts) // 2
    return int(np.searchsorted(counts.cumsum(), counts.sum() / 2))


def _draw(
    image: Num[np.ndarray, "3 h w"], masks: Bool[np.ndarray, "k h w"], spacing: tuple[float, float]
) -> Joined:
    """Return one slice under the colours of its classes."""
    picture = grey_of(np.ascontiguousarray(image.transpose(1, 2, 0))).astype(np.float32)
    for index, mask in enumerate(masks):
        colour = np.array(CONTOURS[index % len(CONTOURS)], np.float32)
        picture[mask] = (1 - SHARE) * picture[mask] + SHARE * colour
    sides = np.array(picture.shape[:2]) * spacing
    scale = SIDE / sides.max()
    height, width = (max(1, round(float(side * scale))) for side in sides)
    drawn = Pillow.fromarray(picture.round().astype(np.uint8))
    return np.array(drawn.resize((width, height), Pillow.Resampling.BILINEAR))
