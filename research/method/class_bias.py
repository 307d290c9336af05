"""Does a refiner do more than shift the probabilities of whole classes?

    HIDIFF_DATA=... python research/method/class_bias.py RUN --output RESULT.json

A class that the segmentor finds, but never as the most probable one, can also be won by adding a
constant to its logits. That is the cheapest rival of a refiner behind a frozen segmentor: a number
for each class, chosen on validation cases, without training. Prior, shifted prior and refined masks
are compared at the size that the networks see, in 3-D for volumes, by the mean Dice of each class.
"""

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from hidiff import experiment
from hidiff.hybrid import HybridSegmentor
from hidiff.labels import Labels
from hidiff.loading import LoadedCases
from hidiff.metrics import summarise
from hidiff.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

BATCH = 8
BIASES = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # added to a class's log probability
TINY = 1e-6  # keeps the logarithm finite

Planes = Float[np.ndarray, "k d h w"]
Classes = UInt8[np.ndarray, "d h w"]


@dataclass(frozen=True)
class Volume:
    """The slices of a case, or of a patient, as the networks see and predict them."""

    name: str
    log_prior: Planes
    refined: Classes
    truth: Classes


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="a run with a refiner, of exclusive classes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=None, help="the first few, while developing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = experiment.load_recipe(args.run)
    hybrid = experiment.load_predictor(args.run).hybrid
    biases = tune(list(predict(recipe, hybrid, "validation", args.cases)), recipe.labels)
    print(biases, flush=True)
    rows = []
    for volume in predict(recipe, hybrid, "test", args.cases):
        rows += judge(volume, biases, recipe.labels)
        print(volume.name, flush=True)
    result = {
        "question": "a shift of each class against a refiner",
        "data": recipe.data.source,
        "biases": dict(zip(recipe.labels.class_names, biases[1:].tolist(), strict=True)),
        "dice": compare(rows),
        "machine": machine(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["dice"], indent=1))


@torch.inference_mode()
def predict(
    recipe: Recipe, hybrid: HybridSegmentor, split: str, count: int | None
) -> Iterator[Volume]:
    """Predict the cases of a split, one patient at a time, in one step at temperature 0."""
    cases = experiment.list_cases(recipe, split)
    for group in list(dict.fromkeys(case.group for case in cases))[:count]:
        loaded = experiment.load_cases(recipe, [case for case in cases if case.group == group])
        yield stack(group, loaded, hybrid, recipe.labels)


def stack(name: str, loaded: LoadedCases, hybrid: HybridSegmentor, labels: Labels) -> Volume:
    """Predict every slice of some cases, and put them on top of each other."""
    priors, refined, truths = [], [], []
    for first in range(0, len(loaded), BATCH):
        items = [loaded[index] for index in range(first, min(first + BATCH, len(loaded)))]
        image = torch.stack([item["image"] for item in items])
        look = hybrid.look(image.contiguous(memory_format=torch.channels_last))

        def uniform(t: int, prior: torch.Tensor = look.prior) -> torch.Tensor:
            return torch.full_like(prior, 0.5)  # temperature 0 draws nothing

        last = [hybrid.schedule.num_steps]
        [steps] = deque(hybrid.refine(image, look, last, [uniform], temperature=0.0), maxlen=1)
        priors.append(look.prior.numpy())
        refined.append(decode(steps[0].y0_hat.numpy(), labels))
        truths.append(decode(torch.stack([item["y0"] for item in items]).numpy(), labels))
    log_prior = np.log(np.concatenate(priors).swapaxes(0, 1) + TINY)
    return Volume(name, log_prior, np.concatenate(refined), np.concatenate(truths))


def decode(planes: np.ndarray, labels: Labels) -> Classes:
    """Return the label maps of a batch."""
    return np.stack([labels.decode(each) for each in planes])


def tune(volumes: list[Volume], labels: Labels) -> Float[np.ndarray, "k"]:
    """Return the bias of each plane with the best mean Dice, one class after another.

    The classes with the fewest voxels come first; background keeps 0.
    """
    biases = np.zeros(labels.num_planes, dtype=np.float32)
    sizes = [
        sum(int((each.truth == number).sum()) for each in volumes)
        for number in range(labels.num_planes)
    ]
    for number in sorted(range(1, labels.num_planes), key=sizes.__getitem__):
        scores = []
        for bias in BIASES:
            biases[number] = bias
            scores.append(
                np.mean([dice(shift(each, biases), each.truth, labels) for each in volumes])
            )
        biases[number] = BIASES[int(np.argmax(scores))]
    return biases


def shift(volume: Volume, biases: Float[np.ndarray, "k"]) -> Classes:
    """Return the most probable class after each has got its bias."""
    return (volume.log_prior + biases[:, None, None, None]).argmax(axis=0).astype(np.uint8)


def dice(predicted: Classes, truth: Classes, labels: Labels) -> list[float]:
    """Return the Dice of each class; 1 where it is in neither mask."""
    scores = []
    for number in range(1, labels.num_planes):
        ours, theirs = predicted == number, truth == number
        total = int(ours.sum() + theirs.sum())
        scores.append(2 * int((ours & theirs).sum()) / total if total else 1.0)
    return scores


def judge(volume: Volume, biases: Float[np.ndarray, "k"], labels: Labels) -> list[dict]:
    """Return a row for each class and mask: prior, shifted prior, refined."""
    masks = {
        "prior": shift(volume, np.zeros_like(biases)),
        "shifted": shift(volume, biases),
        "refined": volume.refined,
    }
    return [
        {"case": volume.name, "group": volume.name, "class": name, "source": mask, "dice": score}
        for mask, predicted in masks.items()
        for name, score in zip(
            labels.class_names, dice(predicted, volume.truth, labels), strict=True
        )
    ]


def compare(rows: list[dict]) -> dict[str, dict[str, object]]:
    """Return the mean Dice of each class and mask, and two differences with their intervals."""
    pairs = {"shifted - prior": ("prior", "shifted"), "refined - shifted": ("shifted", "refined")}
    found: dict[str, dict[str, object]] = {}
    for title, (before, after) in pairs.items():
        sources = {before: "prior", after: "refined"}
        chosen = [
            {**row, "source": sources[row["source"]]} for row in rows if row["source"] in sources
        ]
        for entry in summarise(chosen).entries:
            numbers = found.setdefault(entry.class_name, {})
            assert entry.prior and entry.refined and entry.difference
            numbers[before], numbers[after] = entry.prior.mean, entry.refined.mean
            numbers[title] = [entry.difference.mean, entry.difference.low, entry.difference.high]
    return found


if __name__ == "__main__":
    main()
