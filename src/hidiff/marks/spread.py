"""Marks that spread where the image is alike: a random walker with priors.

L. Grady, "Multilabel random walker image segmentation using prior models", CVPR 2005. A walker
starts at a pixel, steps to a neighbour the more readily the less the image differs there, and stops
at a mark, or at a chance set by `spread` wherever it is. Stopped by a mark, it says what the mark
says; stopped elsewhere, it says what the map says there. The result is its mean answer.
"""

import numpy as np
from jaxtyping import Bool, Float

# Times the difference of two neighbours in units of the image's variance.
EDGE = 10.0
LEAST_STEP = 1e-4  # of a walker across the sharpest edge, against 1 where nothing differs
TOLERANCE = 1e-5
MAX_ROUNDS = 200


def spread_marks(
    image: Float[np.ndarray, "c h w"],
    probability: Float[np.ndarray, "k h w"],
    known: Bool[np.ndarray, "k h w"],
    y0: Float[np.ndarray, "k h w"],
    spread: float,
    edge: float = EDGE,
) -> Float[np.ndarray, "k h w"]:
    """Return probabilities that follow the marks where the image is alike.

    `known` is where a mark is certain, `y0` (0 or 1) what it says there. `spread` is the weight of
    the neighbours against the probability itself: 0 changes nothing, and 3 reaches a few pixels.
    A plane without a mark is returned as it came. Exclusive planes need not sum to 1 afterwards.
    """
    marked = np.flatnonzero(known.any(axis=(1, 2)))
    if spread == 0 or not len(marked):
        return probability
    from scipy.sparse import diags_array  # deferred: a prediction starts without SciPy
    from scipy.sparse.linalg import cg

    near = _neighbours(image, edge)
    faith = 1 / spread
    matrix = (diags_array(near.sum(axis=1) + faith) - near).tocsr()
    found = probability.copy()
    for plane in marked:
        certain, says = known[plane].ravel(), y0[plane].ravel().astype(np.float64)
        free = ~certain
        values = probability[plane].ravel().astype(np.float64)
        if free.any():
            rows = matrix[free]
            right = faith * values[free] - rows[:, certain] @ says[certain]
            values[free], _ = cg(
                rows[:, free], right, x0=values[free], rtol=TOLERANCE, maxiter=MAX_ROUNDS
            )
        values[certain] = says[certain]
        found[plane] = values.clip(0, 1).reshape(known[plane].shape)
    return found


def _neighbours(image: Float[np.ndarray, "c h w"], edge: float):
    """Return how readily a walker steps between any two neighbours: a symmetric sparse matrix."""
    from scipy.sparse import coo_array

    height, width = image.shape[1:]
    index = np.arange(height * width).reshape(height, width)
    flat = image.reshape(len(image), -1).astype(np.float64)
    starts = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    ends = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    gap = ((flat[:, starts] - flat[:, ends]) ** 2).mean(axis=0)
    variance = flat.var(axis=1).mean()
    step = np.exp(-edge * gap / variance) + LEAST_STEP if variance > 0 else np.ones_like(gap)
    one_way = coo_array((step, (starts, ends)), shape=(index.size, index.size))
    return (one_way + one_way.T).tocsr()
