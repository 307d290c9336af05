"""The threshold of a probability map with the best expected Dice, by the map itself."""

import numpy as np
from jaxtyping import Float


def dice_threshold(probability: Float[np.ndarray, "h w"]) -> float:
    """Return the c for which the mask `probability > c` (strictly) has the highest expected Dice.

    No labels are needed. Keeping the pixels above c is expected to score (RankDice,
    https://jmlr.org/papers/v24/22-0712.html)

        2 * sum(p over p > c) / (count(p > c) + sum(p)),

    which grows with one more pixel as long as that pixel's p is above half of it: so the best c is
    about half the Dice it reaches, and below 0.5. Every distinct value is tried. Keeping nothing
    scores the chance that there is nothing, product(1 - p), because an empty answer to an empty
    truth counts as Dice 1; the formula alone would find something in every healthy image. The cut
    is then the highest value of the map, and 0.5 for a map of zeros.
    """
    values, counts = np.unique(probability, return_counts=True)
    if values[-1] == 0:
        return 0.5
    # From the highest value down: entry i is what the mask that keeps the i+1 highest values holds.
    kept = np.cumsum(counts[::-1], dtype=np.float64)
    sums = np.cumsum((counts * values.astype(np.float64))[::-1])
    expected_dice = 2 * sums / (kept + sums[-1])
    with np.errstate(divide="ignore"):
        chance_of_nothing = np.exp(np.sum(counts * np.log1p(-values.astype(np.float64))))
    if chance_of_nothing > expected_dice.max():
        return float(values[-1])
    # The cut is the next lower value itself: a midpoint could round back up in float32.
    cuts = np.append(values[::-1][1:], 0.0)
    return float(cuts[np.argmax(expected_dice)])
