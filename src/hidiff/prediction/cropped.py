"""Predict a crop around a place of a volume, and put its maps back onto the slices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hidiff.labels import Labels
from hidiff.loading import Crop
from hidiff.prediction.prediction import SliceMaps, cut_outside, decide, entropy_bits
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.slices import OpenedImage

if TYPE_CHECKING:
    from hidiff.prediction.predictor import Predictor


def predict_crop(
    predictor: "Predictor",
    opened: OpenedImage,
    numbers: Sequence[int],
    settings: PredictionSettings,
    **options: Any,
) -> list[SliceMaps]:
    """Predict slices of a volume that is seen through a crop: outside it they are background.

    `options` are those of `Predictor.predict_slices`.
    """
    crop, labels = opened.crop, predictor.labels
    assert crop is not None
    maps = []
    for number in numbers:
        if number == crop.number:
            seen, key = opened.seen(number), opened.key(number)
            [found] = predictor.predict_slices(seen, [key], settings, size=crop.size, **options)
            maps.append(paste_maps(found, crop, labels, settings.rule))
        else:
            maps.append(_background(crop.image_size, labels))
    return maps


def paste_maps(maps: SliceMaps, crop: Crop, labels: Labels, rule: str) -> SliceMaps:
    """Return the maps of a crop on its slice; labels are decided anew at the slice's pixels."""

    def paste(planes: np.ndarray) -> np.ndarray:
        return crop.paste(torch.from_numpy(planes)).numpy()

    probability, prior = paste(maps.probability), paste(maps.prior)
    pasted = SliceMaps(
        labels=decide(probability, labels, rule),
        probability=probability,
        uncertainty=entropy_bits(probability, labels),
        prior=prior,
        prior_labels=decide(prior, labels, rule),
        variance=None if maps.variance is None else paste(maps.variance),
        trace=[
            (t, crop.paste_nearest(torch.from_numpy(yt)).numpy(), paste(y0_hat))
            for t, yt, y0_hat in maps.trace
        ],
    )
    return cut_outside(pasted, crop.inside.numpy(), labels)


def _background(size: tuple[int, int], labels: Labels) -> SliceMaps:
    """Return the maps of a slice that no crop shows."""
    probability = np.zeros((labels.num_planes, *size), dtype=np.float32)
    nothing = decide(probability, labels, "half")
    doubt = entropy_bits(probability, labels)
    maps = SliceMaps(nothing, probability, doubt, probability, nothing)
    return cut_outside(maps, np.zeros(size, dtype=bool), labels)
