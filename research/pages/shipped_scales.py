"""Dice of a model of crops on crops that show more or less than it learned, for its card."""

from collections.abc import Sequence

import numpy as np
import torch

from hidiff.datasets import Case
from hidiff.evaluation import read_truth
from hidiff.evaluation.corrections import overlap
from hidiff.images import read_image
from hidiff.loading import Crop, stretch
from hidiff.prediction import Predictor
from research.pages.model_card import Facts
from research.pages.shipped_marks import intervals


def measure_scales(
    predictor: Predictor, cases: Sequence[Case], scales: Sequence[float]
) -> dict[str, Facts]:
    """Return the mean Dice for each scale, with its interval over patients.

    At scale 1.4 a pixel of the crop is 1.4 pixels of the file wide, so that all looks smaller; past
    the file's rim the rim is repeated. Each crop is stretched to its own range. Masks come back to
    the size of the file to be judged. Crops that at least two of the four radiologists call empty
    are left out.
    """
    dice, groups = [], []
    for case in cases:
        truth = read_truth(case, predictor)
        y0, inside = truth.labels > 0, truth.inside
        if not (y0 & inside).any():
            continue
        image = torch.from_numpy(read_image(case.image, predictor.channels).slice(0))
        of_scales = []
        for scale in scales:
            height, width = image.shape[-2:]
            middle = ((height - 1) / 2, (width - 1) / 2)
            crop = Crop(0, middle, (scale, scale), predictor.window, (height, width))
            seen = stretch(crop.cut(image.float()).numpy(), predictor.intensity)
            made = predictor.predict(np.moveaxis(seen, 0, -1), name=case.name)
            pasted = crop.paste(torch.from_numpy(np.asarray(made.probability))).numpy()
            of_scales.append(overlap(predictor.labels.bits(pasted)[0], y0, inside)[0])
        dice.append(of_scales)
        groups.append(case.group)
    found = intervals(np.array(dice), groups)
    return {f"{scale:g}": interval for scale, interval in zip(scales, found, strict=True)}
