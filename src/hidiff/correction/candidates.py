"""Other masks to choose from: the probability cut at other thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from hidiff.correction.history import Patch
from hidiff.correction.maps import CHANGING, SessionMaps
from hidiff.correction.recompute import breaks_lock, scale_odds
from hidiff.correction.record import Locks
from hidiff.labels import Labels
from hidiff.prediction import decide, entropy_bits

# Far ones first: two candidates shall show the range that there is.
THRESHOLDS = (0.25, 0.75, 0.1, 0.9, 0.4, 0.6, 0.02, 0.98, 0.005, 0.995)
MOST_ALIKE = 0.98  # Dice of two candidates; more would be one mask to a reader


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask to choose."""

    threshold: float
    """probability from which a class counts; 0.5 for the mask as it is"""
    labels: Shaped[np.ndarray, "*native"]
    """in the form of the image, as those of the session; of one slice (rows, columns)"""
    patches: tuple[Patch, ...]
    """the changes that choosing it makes"""

    @property
    def odds(self) -> float:
        """Factor of the odds of every class."""
        return (1 - self.threshold) / self.threshold


def find_candidates(
    maps: SessionMaps, locks: Locks, number: int, slices: Sequence[int]
) -> list[Candidate]:
    """Return at most `number` masks, the present one first, that differ from each other.

    The Dice of any two is below 0.98. Marks, locked pixels and locked classes are kept.
    """
    labels = maps.predictor.labels
    present = maps.arrays["labels"][..., list(slices), :, :]
    found = [Candidate(0.5, _native(maps, present, slices), ())]
    masks = [present]
    for threshold in THRESHOLDS:
        if len(found) >= number:
            break
        odds = (1 - threshold) / threshold
        patches = tuple(_scaled(maps, locks, odds, each) for each in slices)
        mask = np.stack([patch.values["labels"] for patch in patches], axis=-3)
        if all(dice_of(mask, other, labels) < MOST_ALIKE for other in masks):
            masks.append(mask)
            found.append(Candidate(threshold, _native(maps, mask, slices), patches))
    return found[:number]


def dice_of(
    left: UInt8[np.ndarray, "*k d h w"], right: UInt8[np.ndarray, "*k d h w"], labels: Labels
) -> float:
    """Return the Dice of two label maps over all classes together; 1 if both are empty."""
    ours, theirs = labels.class_masks(left), labels.class_masks(right)
    common = sum(np.count_nonzero(ours[name] & theirs[name]) for name in ours)
    total = sum(np.count_nonzero(ours[name]) + np.count_nonzero(theirs[name]) for name in ours)
    return 2 * common / total if total else 1.0


def _scaled(maps: SessionMaps, locks: Locks, odds: float, number: int) -> Patch:
    """Return what a factor of the odds makes of a slice."""
    labels, size = maps.predictor.labels, maps.opened.opened.geometry.size
    former = {name: maps.arrays[name][..., number, :, :] for name in CHANGING}
    probability = scale_odds(former["probability"], odds, labels)
    decided = decide(probability, labels, maps.settings.rule)
    allowed = ~locks.area(number, size) & ~breaks_lock(former["labels"], decided, locks, labels)
    now = {
        "labels": decided,
        "probability": probability,
        "uncertainty": entropy_bits(probability, labels),
    }
    values = {
        name: np.where(allowed, now[name].astype(former[name].dtype), former[name]) for name in now
    }
    return Patch(number, slice(0, size[0]), slice(0, size[1]), values)


def _native(maps: SessionMaps, mask: np.ndarray, slices: Sequence[int]) -> np.ndarray:
    geometry = maps.opened.opened.geometry
    if len(slices) < geometry.shape[0]:
        return mask[..., 0, :, :].copy()
    return geometry.native(mask).copy()
