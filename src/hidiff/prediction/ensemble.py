"""Several models as one, such as the folds of a cross-validation: the mean of their results."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.prediction.prediction import SliceMaps, decide, entropy_bits
from hidiff.prediction.predictor import Predictor
from hidiff.prediction.reach import Guidance
from hidiff.prediction.seen import SeenWindows
from hidiff.prediction.settings import PredictionSettings

# What all must share, so that an image is read and shown once for all.
SHARED = ("labels", "channels", "intensity", "slicing", "size", "priors", "refines")


class Ensemble(Predictor):
    """A predictor whose probability is the mean over its members', pixel by pixel.

    Images are read, resized and sliced as the first member does, and so must every other's be.
    """

    def __init__(self, members: Sequence[Predictor]):
        if not members:
            raise ValueError("there is no model to average. Give one at least.")
        first = members[0]
        for number, member in enumerate(members[1:], start=2):
            differs = [name for name in SHARED if getattr(member, name) != getattr(first, name)]
            if differs:
                raise ValueError(
                    f"model {number} differs from the first in {', '.join(differs)}, so the two "
                    "cannot be averaged. Give models of one recipe, such as its folds."
                )
        super().__init__(
            first.hybrid,
            channels=first.channels,
            intensity=first.intensity,
            slicing=first.slicing,
            priors=first.priors,
            window=first.window,
            size=first.size,
            settings=first.settings,
            device=first.device,
            refines=first.refines,
        )
        self.members = list(members)

    def predict_slices(
        self,
        images: Float[Tensor, "b channels h w"],
        names: list[str],
        settings: PredictionSettings,
        *,
        size: tuple[int, int],
        refine: bool,
        trace: bool = False,
        keep: SeenWindows | None = None,
    ) -> list[SliceMaps]:
        """Return the mean of all members for each slice; steps are those of the first member."""
        by_member = [
            member.predict_slices(
                images,
                names,
                settings,
                size=size,
                refine=refine,
                trace=trace and number == 0,
                keep=None if keep is None else keep.part(number, len(self.members)),
            )
            for number, member in enumerate(self.members)
        ]
        return [self._average(maps, settings) for maps in zip(*by_member, strict=True)]

    def refine_reach(
        self,
        seen: Float[Tensor, "1 channels h w"],
        key: str,
        settings: PredictionSettings,
        reach: Bool[Tensor, "h w"],
        guidance: Guidance,
        keep: SeenWindows,
    ) -> tuple[slice, slice, Float[Tensor, "k rows columns"]]:
        """Return the mean of all members within reach of marks."""
        parts = [
            member.refine_reach(
                seen, key, settings, reach, guidance, keep.part(number, len(self.members))
            )
            for number, member in enumerate(self.members)
        ]
        rows, columns, _ = parts[0]
        means = [mean for _, _, mean in parts]
        if self.labels.kind == "exclusive":
            means = [mean / mean.sum(dim=0, keepdim=True).clamp(min=1e-6) for mean in means]
        return rows, columns, torch.stack(means).mean(dim=0)

    def see_ahead(
        self,
        seen: Float[Tensor, "1 channels h w"],
        key: str,
        settings: PredictionSettings,
        keep: SeenWindows,
    ) -> None:
        """Do the work of every member that the first mark would wait for."""
        for number, member in enumerate(self.members):
            member.see_ahead(seen, key, settings, keep.part(number, len(self.members)))

    def _average(self, found: Sequence[SliceMaps], settings: PredictionSettings) -> SliceMaps:
        if len(found) == 1:
            return found[0]
        probability = np.mean([maps.probability for maps in found], axis=0)
        prior = np.mean([maps.prior for maps in found], axis=0)
        # over all samples of all members: E[x^2] - E[x]^2
        squares = [
            maps.probability**2 + (0 if maps.variance is None else maps.variance) for maps in found
        ]
        return SliceMaps(
            labels=decide(probability, self.labels, settings.rule),
            probability=probability,
            uncertainty=entropy_bits(probability, self.labels),
            prior=prior,
            prior_labels=decide(prior, self.labels, settings.rule),
            variance=(np.mean(squares, axis=0) - probability**2).clip(0),
            trace=found[0].trace,
        )
