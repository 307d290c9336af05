"""The lit view of a photograph through a round lens, as of an eye or an endoscope."""

import numpy as np
from jaxtyping import Bool, Float

BLUR_PX = 5
SHARE = 0.12  # of the way from the darkest pixels to the brightest: below it is black


def find_view(image: Float[np.ndarray, "c h w"]) -> Bool[np.ndarray, "h w"]:
    """Return True inside the largest lit part of the image; dark places in it belong to it.

    Any unit will do, as brightness (the largest channel's) is measured between the 1st and the 95th
    percentile of the image's own. Of an image without contrast everything is view.
    """
    # SciPy takes a while to import, and few predictions ask for the lit view.
    from scipy.ndimage import binary_fill_holes, label, uniform_filter

    brightness = uniform_filter(image.max(axis=0).astype(np.float32), BLUR_PX)
    least, most = np.percentile(brightness, (1, 95))
    lit = brightness > least + SHARE * (most - least)
    parts, count = label(lit)  # pyright: ignore[reportGeneralTypeIssues]
    if count == 0:
        return np.ones(brightness.shape, dtype=bool)
    largest = 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.asarray(binary_fill_holes(parts == largest))
