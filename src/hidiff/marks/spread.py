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

    The image may have any scale: its differences count in units of its variance, times `edge`.
    `known` is where a mark is certain, `y0` (0 or 1) what it says there. `spread`, at least 0, is
    the weight of the neighbours against the probability itself: 0 changes nothing, and 3 reaches a
    few pixels.
    A plane without a mark is returned as it came. Exclusive planes need not sum to 1 afterwards.
    """
    marked = np.flatnonzero(known.any(axis=(1, 2)))
    if spread == 0 or not len(marked):
        return probability
    from scipy.sparse.linalg import LinearOperator, cg  # deferred: a prediction starts without it

    down, right = _steps(image, edge)
    size, faith = known.shape[1:], 1 / spread
    leaving = np.full(size, faith)
    for here, there, step in _pairs(down, right):
        leaving[here] += step
        leaving[there] += step

    def balance(x: np.ndarray) -> np.ndarray:
        """Return the left side of the walker's linear equations."""
        balanced = leaving * x
        for here, there, step in _pairs(down, right):
            balanced[here] -= step * x[there]
            balanced[there] -= step * x[here]
        return balanced

    found = probability.copy()
    for plane in marked:
        free = ~known[plane]

        def of_free(x: np.ndarray, free: np.ndarray = free) -> np.ndarray:
            return np.where(free, balance(x.reshape(size)), 0).ravel()

        says = np.where(free, 0, y0[plane]).astype(np.float64)
        values = np.where(free, probability[plane], 0).astype(np.float64)
        # SciPy chooses the class that takes matvec by itself, which pyright does not see
        system = LinearOperator((free.size, free.size), matvec=of_free, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        walked, _ = cg(
            system,
            np.where(free, faith * values - balance(says), 0).ravel(),
            x0=values.ravel(),
            rtol=TOLERANCE,
            maxiter=MAX_ROUNDS,
        )
        found[plane] = np.where(free, walked.reshape(size).clip(0, 1), says)
    return found


def _steps(
    image: Float[np.ndarray, "c h w"], edge: float
) -> tuple[Float[np.ndarray, "h_1 w"], Float[np.ndarray, "h w_1"]]:
    """Return how readily a walker steps between vertical and between horizontal neighbours."""
    values = image.astype(np.float64)
    variance = values.var(axis=(1, 2)).mean()
    steps = []
    for axis in (1, 2):
        gap = (np.diff(values, axis=axis) ** 2).mean(axis=0)
        likely = np.exp(-edge * gap / variance) + LEAST_STEP if variance > 0 else np.ones_like(gap)
        steps.append(likely)
    return steps[0], steps[1]


def _pairs(down: np.ndarray, right: np.ndarray) -> list[tuple[tuple, tuple, np.ndarray]]:
    """Return the places of neighbours, as two views of the image each, and the steps between."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    return [((first, every), (last, every), down), ((every, first), (every, last), right)]
