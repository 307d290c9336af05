"""Intervals and tests of paired differences."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FEWEST_GROUPS = 6  # of fewer pairs no signed-rank test can give a p below 0.05


@dataclass(frozen=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test of paired differences."""

    p: float
    """chance of differences as lopsided as these, were either sign as likely"""
    n: int
    """groups whose difference is not zero: what the test rests on"""


def signed_rank(differences: Float[np.ndarray, "n"]) -> SignedRank:
    """Do the differences, one a group, lie to one side of zero? (Wilcoxon 1945)

    Zeros are left out, as Wilcoxon did. Of fewer than FEWEST_GROUPS others p cannot be below 0.05,
    whatever they are; of none it is 1.
    """
    # takes half as long to import as torch; prediction imports this package and tests nothing
    from scipy.stats import wilcoxon

    changed = differences[differences != 0]
    if len(changed) == 0:
        return SignedRank(1.0, 0)
    return SignedRank(float(np.asarray(wilcoxon(changed))[1]), len(changed))
