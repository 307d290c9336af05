"""Doubt: a score of a mask's quality that needs no truth, for choosing what to review first."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float


@dataclass
class Doubt:
    """One minus the mean probability of each class inside its own mask, taken in slice by slice.

    The mean entropy of all pixels grows with an object's size, and small objects are those whose
    Dice is low; a mean inside the mask does not depend on the size.
    """

    parts: dict[int, Float[np.ndarray, "3 k"]] = field(default_factory=dict)
    """slice -> for each class: sum of probability in the mask, its pixels, highest probability"""

    def put(
        self, number: int, probability: Float[np.ndarray, "k h w"], masks: Bool[np.ndarray, "k h w"]
    ) -> None:
        """Take in the probabilities and the masks of a slice's classes, without background."""
        axes = (1, 2)
        inside = np.where(masks, probability, 0).sum(axis=axes, dtype=np.float64)
        self.parts[number] = np.stack([inside, masks.sum(axis=axes), probability.max(axis=axes)])

    @property
    def by_class(self) -> Float[np.ndarray, "k"]:
        """The doubt of each class, 0..1; of an empty mask the highest probability that it left out.

        Raises ValueError if no slice was taken in.
        """
        if not self.parts:
            raise ValueError("no slice was taken in, but a doubt needs one at least")
        parts = np.stack(list(self.parts.values()))
        inside, pixels = parts[:, 0].sum(axis=0), parts[:, 1].sum(axis=0)
        mean = inside / np.maximum(pixels, 1)
        return np.where(pixels > 0, 1 - mean, parts[:, 2].max(axis=0)).clip(0, 1)

    @property
    def mean(self) -> float:
        """The mean doubt of the classes, 0..1."""
        return float(self.by_class.mean())
