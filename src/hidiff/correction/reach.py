"""The pixels that marks touch, and those within their reach."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool

from hidiff.marks import Mark, Size
from hidiff.prediction.slices import OpenedImage


def touched_by(marks: Sequence[Mark], size: Size, image_size: Size) -> Bool[np.ndarray, "h w"]:
    """Return the pixels that marks touch."""
    touched = np.zeros(size, dtype=bool)
    for mark in marks:
        footprint = mark.footprint(size, image_size)
        touched[footprint.box] |= footprint.mask
    return touched


def touched_as_seen(
    marks: Sequence[Mark], touched: Bool[np.ndarray, "h w"], opened: OpenedImage
) -> Bool[np.ndarray, "seen_h seen_w"]:
    """Return the pixels of the networks' view that marks touch; `touched` are the image's."""
    if opened.crop is None:
        return touched_by(marks, opened.seen_size, opened.opened.geometry.size)
    return opened.to_seen(torch.from_numpy(touched), nearest=True).numpy()


def dilate(touched: Bool[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Return the pixels up to a distance along rows and along columns from any that is touched."""
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    if distance == 0:
        return touched
    rows, columns = box_around(touched)
    height, width = touched.shape
    top, left = max(rows.start - distance, 0), max(columns.start - distance, 0)
    around = (slice(top, min(rows.stop + distance, height)),
              slice(left, min(columns.stop + distance, width)))  # fmt: skip
    reach = np.zeros_like(touched)
    part = touched[around].view(np.uint8)
    reach[around] = ndimage.maximum_filter(part, 2 * distance + 1, mode="constant") > 0
    return reach


def box_around(mask: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Return the rows and columns of the smallest box around a mask."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(int(places[0]), int(places[-1]) + 1))
    return spans[0], spans[1]
