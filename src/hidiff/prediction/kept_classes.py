"""A prediction with some of its classes only."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hidiff.labels import Labels
from hidiff.prediction.prediction import Prediction

# Maps with a plane per class: kept for the classes that are kept.
PLANE_MAPS = ("probability", "prior", "variance")


def keep_classes(prediction: Prediction, names: Sequence[str]) -> Prediction:
    """Return a prediction whose other classes are background.

    The probability of the background then includes theirs. Raises ValueError for a class that the
    model does not have.
    """
    labels = prediction.classes
    check_classes(labels.class_names, names)
    numbers = [number for number, name in enumerate(labels.class_names) if name in names]
    classes = {name: labels.classes[name] for name in labels.class_names if name in names}
    kept = Labels.model_validate({**labels.model_dump(), "classes": classes})
    maps = {name: _keep(name, values, labels, numbers) for name, values in prediction.maps.items()}
    return replace(prediction, classes=kept, maps=maps)


def check_classes(known: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none of the classes."""
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(
            f"the classes {', '.join(wrong) or 'of none'} are asked for, but the model has "
            f"{', '.join(known)}. Choose among these."
        )


def _keep(name: str, values: np.ndarray, labels: Labels, numbers: Sequence[int]) -> np.ndarray:
    """Return one map with the classes of these numbers only."""
    if name in ("labels", "prior_labels"):
        return _keep_labels(values, labels, numbers)
    has_planes = name in PLANE_MAPS or name.startswith(("yt ", "y0_hat "))
    if name == "uncertainty":
        has_planes = labels.kind == "regions"
    if not has_planes or labels.kind == "one_class":
        return values
    kept = values[labels.class_planes][numbers]
    if labels.kind == "regions":
        return kept
    rest = [0, *(n for n in range(1, len(values)) if n - 1 not in numbers)]
    background = values[rest].astype(np.float32).sum(axis=0).astype(values.dtype)
    return np.concatenate([background[None], kept])


def _keep_labels(values: np.ndarray, labels: Labels, numbers: Sequence[int]) -> np.ndarray:
    if labels.kind == "regions":
        return values[numbers]
    if labels.kind == "one_class":
        return values
    new = np.zeros(len(labels.class_names) + 1, values.dtype)
    for place, number in enumerate(numbers, start=1):
        new[number + 1] = place
    return new[values]
