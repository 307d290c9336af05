"""The maps that a session corrects, predicted a few slices at a time, when they are asked for."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped

from hidiff.images import Priors, soften
from hidiff.prediction import (
    Prediction,
    PredictionSettings,
    Predictor,
    SliceMaps,
    decide,
    entropy_bits,
)
from hidiff.prediction.seen import SeenWindows
from hidiff.prediction.slices import OpenedImage

CHANGING = ("labels", "probability", "uncertainty")


@dataclass(frozen=True, eq=False)
class Predicted:
    """Slices that were predicted together, and the windows that they were predicted from."""

    numbers: list[int]
    maps: list[SliceMaps]
    keep: SeenWindows


class SessionMaps:
    """Labels, probability, uncertainty and prior of an image, of which slices come on demand.

    Slices are predicted in the batches of `Predictor.predict`, so that they have the same bits.
    With `mask` (bits of each plane) nothing is predicted: the mask is the labels, and softened the
    prior and the probability.
    """

    def __init__(
        self,
        predictor: Predictor,
        opened: OpenedImage,
        settings: PredictionSettings,
        refine: bool,
        keep: SeenWindows,
        mask: Bool[np.ndarray, "k d h w"] | None = None,
    ):
        self.predictor = predictor
        self.opened = opened
        self.settings = settings
        self.refine = refine
        self.keep = keep
        self.mask = mask
        geometry, path = opened.opened.geometry, opened.opened.path
        self.prediction = Prediction(opened.name, predictor.labels, geometry, path)
        self.is_known = np.zeros(geometry.shape[0], dtype=bool)

    @property
    def arrays(self) -> dict[str, Shaped[np.ndarray, "*k d h w"]]:
        """The maps by name; a slice holds only if it is known."""
        if not self.prediction.maps:
            self.need(0)
        return self.prediction.maps

    def is_at_hand(self, number: int) -> bool:
        """Return whether a slice is known, or is known at once as it was given."""
        return bool(self.is_known[number]) or self.mask is not None

    def need(self, number: int) -> None:
        """Predict a slice, unless it is known, and those that are predicted with it."""
        if self.is_known[number]:
            return
        if self.mask is not None:
            self._put(number, self._start_from(self.mask, number))
        else:
            self.take(self.predict(number))

    def predict(self, number: int) -> Predicted:
        """Predict a slice, and those that are predicted with it; nothing is changed yet."""
        batch, keep = self._batch_of(number), SeenWindows(self.keep.most_bytes)
        maps = self.predictor.predict_batch(
            self.opened, batch, self.settings, refine=self.refine, keep=keep
        )
        return Predicted(batch, maps, keep)

    def take(self, predicted: Predicted) -> None:
        """Take slices in that are not known yet."""
        for number, maps in zip(predicted.numbers, predicted.maps, strict=True):
            if not self.is_known[number]:
                self._put(number, maps)
        self.keep.take(predicted.keep)

    def see_ahead(self, number: int, keep: SeenWindows) -> None:
        """Put the networks' work on a slice that its first mark would wait for into `keep`."""
        if self.refine and self.opened.sees(number):
            seen, key = self.opened.seen(number), self.opened.key(number)
            self.predictor.see_ahead(seen, key, self.settings, keep)

    def need_all(self) -> None:
        """Predict all slices that are not known."""
        for number in np.flatnonzero(~self.is_known).tolist():
            self.need(number)

    def _batch_of(self, number: int) -> list[int]:
        first = number - number % self.settings.windows
        return list(range(first, min(first + self.settings.windows, len(self.is_known))))

    def _put(self, number: int, maps: SliceMaps) -> None:
        # the variance over samples says nothing of a corrected mask
        self.prediction.put(
            number,
            SliceMaps(
                maps.labels, maps.probability, maps.uncertainty, maps.prior, maps.prior_labels
            ),
        )
        self.is_known[number] = True

    def _start_from(self, mask: Bool[np.ndarray, "k d h w"], number: int) -> SliceMaps:
        labels = self.predictor.labels
        bits = mask[:, number : number + 1]
        prior = soften(bits, labels, self.predictor.priors or Priors())[:, 0]
        assert self.opened.prior is not None
        self.opened.prior[:, number] = torch.from_numpy(prior)
        given = labels.decode(bits[:, 0])
        return SliceMaps(given, prior, entropy_bits(prior, labels), prior, given)


def finish(
    probability: Float[np.ndarray, "k h w"], maps: SessionMaps
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the uncertainty of probabilities."""
    labels = maps.predictor.labels
    return decide(probability, labels, maps.settings.rule), entropy_bits(probability, labels)
