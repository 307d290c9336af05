"""The cases that a person should review first, and the share of errors among them."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hidiff.weights import atomic_write

SHARE = 0.2  # of the cases that are flagged: one in five is what a reader might look at again
COLUMNS = ("case", "uncertainty", "error", "needs_review")


@dataclass(frozen=True)
class Review:
    """The rule: the cases of the highest mean uncertainty, a fixed share of all, need review."""

    uncertainty: Mapping[str, float]
    """case -> mean entropy in bits a pixel, known without any truth"""
    error: Mapping[str, float]
    """case -> 1 - Dice, mean over classes"""
    flagged: tuple[str, ...]
    """the most uncertain first"""

    @property
    def threshold(self) -> float:
        """The lowest uncertainty of a flagged case: for new cases, flag those that reach it."""
        return self.uncertainty[self.flagged[-1]]

    @property
    def caught(self) -> float | None:
        """The share of all error that flagged cases hold; None where there is no error."""
        return self._share_of(self.flagged)

    @property
    def at_best(self) -> float | None:
        """The share that as many cases could hold: those of the largest error."""
        worst = sorted(self.error, key=lambda case: -self.error[case])
        return self._share_of(worst[: len(self.flagged)])

    def _share_of(self, cases) -> float | None:
        total = sum(self.error.values())
        return sum(self.error[case] for case in cases) / total if total else None

    def __str__(self) -> str:
        count, total = len(self.flagged), len(self.error)
        words = (
            f"Needs review: the {count} of {total} cases with the highest mean uncertainty "
            f"({self.threshold:.4f} bits a pixel or more)"
        )
        if self.caught is None or self.at_best is None:
            return f"{words}. There is no error to catch."
        return (
            f"{words} hold {self.caught:.0%} of the error (1 - Dice, added up); as many drawn at "
            f"random would hold {count / total:.0%}, the worst ones {self.at_best:.0%}."
        )


def flag_for_review(
    uncertainty: Mapping[str, float], error: Mapping[str, float], share: float = SHARE
) -> Review:
    """Flag the most uncertain `share` of the cases, rounded up; of equal ones the first by name."""
    if uncertainty.keys() != error.keys() or not error:
        raise ValueError(
            f"{len(uncertainty)} cases have an uncertainty and {len(error)} an error; both are "
            "wanted of each case, and one case at least."
        )
    order = sorted(uncertainty, key=lambda case: (-uncertainty[case], case))
    return Review(uncertainty, error, tuple(order[: math.ceil(share * len(order))]))


def write_review(review: Review, path: Path) -> None:
    """One line a case, the most uncertain first."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for case in sorted(review.error, key=lambda case: (-review.uncertainty[case], case)):
            yes = "yes" if case in review.flagged else "no"
            writer.writerow([case, review.uncertainty[case], review.error[case], yes])
