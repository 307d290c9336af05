"""The cases that a person should review first, and the share of errors among them."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hidiff.weights import atomic_write

SHARE = 0.2  # of the cases that are flagged: one in five is what a reader might look at again
COLUMNS = ("case", "doubt", "error", "needs_review")


@dataclass(frozen=True)
class Review:
    """The rule: the cases of the highest doubt, a fixed share of all, need review."""

    doubt: Mapping[str, float]
    """case -> doubt in its masks, 0..1, known without any truth (see Doubt)"""
    error: Mapping[str, float]
    """case -> 1 - Dice, mean over classes"""
    flagged: tuple[str, ...]
    """the most doubtful first"""

    @property
    def threshold(self) -> float:
        """The lowest doubt of a flagged case: for new cases, flag those that reach it."""
        return self.doubt[self.flagged[-1]]

    @property
    def caught(self) -> float | None:
        """The share of all error that flagged cases hold; None where there is no error."""
        return self._share_of(self.flagged)

    @property
    def at_best(self) -> float | None:
        """The share that as many cases could hold: those of the largest error."""
        worst = sorted(self.error, key=lambda case: -self.error[case])
        return self._share_of(worst[: len(self.flagged)])

    @property
    def skill(self) -> float | None:
        """Skill of the flag: 0 if it catches no more than chance, 1 if it finds the worst cases.

        None where there is no error, or where every case is equally wrong.
        """
        if self.caught is None or self.at_best is None:
            return None
        chance = len(self.flagged) / len(self.error)
        room = self.at_best - chance
        return (self.caught - chance) / room if room > 1e-9 else None

    def _share_of(self, cases) -> float | None:
        total = sum(self.error.values())
        return sum(self.error[case] for case in cases) / total if total else None

    def __str__(self) -> str:
        count, total = len(self.flagged), len(self.error)
        words = (
            f"Needs review: the {count} of {total} cases with the highest doubt "
            f"({self.threshold:.3f} or more)."
        )
        if self.caught is None or self.at_best is None:
            return f"{words} There is no error to catch."
        return (
            f"{words} They hold {self.caught:.0%} of the error (1 - Dice, summed over cases). "
            f"A random choice of {count} would hold {count / total:.0%}, the best choice "
            f"{self.at_best:.0%}."
        )


def flag_for_review(
    doubt: Mapping[str, float], error: Mapping[str, float], share: float = SHARE
) -> Review:
    """Flag the most doubtful `share` of the cases, rounded up; of equal ones the first by name."""
    if doubt.keys() != error.keys() or not error:
        raise ValueError(
            f"{len(doubt)} cases have a doubt and {len(error)} an error; every case needs both, "
            "and one case is needed at least."
        )
    order = sorted(doubt, key=lambda case: (-doubt[case], case))
    return Review(doubt, error, tuple(order[: math.ceil(share * len(order))]))


def write_review(review: Review, path: Path) -> None:
    """Write one line per case, the most doubtful first."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for case in sorted(review.error, key=lambda case: (-review.doubt[case], case)):
            yes = "yes" if case in review.flagged else "no"
            writer.writerow([case, review.doubt[case], review.error[case], yes])
