"""The gain of a refiner on held-out patients, with an interval that says if it is chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hidiff.metrics.table import NUM_RESAMPLES, Interval, Row, bootstrap, gather

FEW = 10  # groups: a bootstrap interval of fewer is too narrow


@dataclass(frozen=True)
class Gain:
    """The mean of a metric before and after refinement, over patients, and its change."""

    metric: str
    before: float
    after: float
    change: Interval
    """with its 95 % interval"""

    @property
    def is_certain(self) -> bool:
        """Return whether the whole interval lies above 0."""
        return self.change.low is not None and self.change.low > 0

    def __str__(self) -> str:
        low, high = self.change.low, self.change.high
        interval = "" if low is None else f", 95 % interval {low:+.3f} to {high:+.3f}"
        return (
            f"{self.metric} {self.before:.3f} before and {self.after:.3f} after: "
            f"{self.change.mean:+.3f}{interval}, {self.change.n} patients"
        )


def measure_gain(rows: Sequence[Row], metric: str = "dice", seed: int = 0) -> Gain:
    """Return the gain over the rows of held-out cases, the mean over classes and patients.

    The interval is a bootstrap over patients, from fewer than ten Student's t, which is wider.
    """
    _, sources, values, groups = gather(rows, [metric])
    by_case = values[..., 0].mean(axis=1)
    by_group = np.stack([by_case[groups == group].mean(axis=0) for group in np.unique(groups)])
    before, after = (by_group[:, sources.index(source)] for source in ("prior", "refined"))
    changes = after - before
    low, high = _interval(changes, seed)
    change = Interval(float(changes.mean()), low, high, len(changes))
    return Gain(metric, float(before.mean()), float(after.mean()), change)


def _interval(changes: np.ndarray, seed: int) -> tuple[float | None, float | None]:
    count = len(changes)
    if count < 2:
        return None, None
    if count >= FEW:
        low, high = bootstrap(changes[:, None], seed, NUM_RESAMPLES)
        return float(low[0]), float(high[0])
    # takes half as long to import as torch
    from scipy.stats import t

    middle = float(changes.mean())
    reach = float(t.ppf(0.975, count - 1)) * float(changes.std(ddof=1)) / count**0.5
    return middle - reach, middle + reach
