"""Do samples differ where radiologists do? Energy distance and matched IoU against their number.

    HIDIFF_DATA=... python research/method/raters.py --hybrid runs/lidc \
        --baseline runs/lidc_baseline --output research/method/results/lidc

Each sample is one refinement at temperature 1, cut at 0.5, compared with every rater's own mask.
Beside them: the baseline's single mask, the hybrid's prior as a single mask, and masks drawn from
the prior pixel by pixel. Writes raters.csv (a row a case, arm and number of samples), raters.json
(means with 95 % intervals over patients) and raters.png. `--cases` takes the first few only.
"""

import argparse
import csv
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from hidiff import experiment, seeding
from hidiff.diffusion import subset
from hidiff.hybrid import HybridSegmentor
from hidiff.labels import MEAN
from hidiff.loading import LoadedCases
from hidiff.loading.dataset import Item
from hidiff.metrics import Summary, rater_metrics, summarise

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

BATCH = 8
SEED = 0
TITLES = {"ged": "squared energy distance (lower is better)", "matched_iou": "matched IoU"}

Masks = np.ndarray  # booleans
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hybrid", type=Path, required=True)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, default=None, help="left out: all T")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    recipe = experiment.load_recipe(args.hybrid)
    loaded = experiment.load_cases(recipe, experiment.list_cases(recipe, args.split))
    hybrid, baseline = (
        experiment.load_predictor(path).hybrid for path in (args.hybrid, args.baseline)
    )
    steps = args.steps or hybrid.schedule.num_steps
    count = min(args.cases or len(loaded), len(loaded))
    rows: dict[str, list[Row]] = {}
    for first in range(0, count, BATCH):
        items = [loaded[number] for number in range(first, min(first + BATCH, count))]
        for arm, masks in draw_masks(hybrid, baseline, items, args.samples, steps):
            found = [judge(loaded, first + i, masks[:, i]) for i in range(len(items))]
            rows.setdefault(arm, []).extend(found)
        print(f"{first + len(items)} of {count}", flush=True)
    points = [{"arm": arm, **point(summarise(found))} for arm, found in rows.items()]
    result = {
        "question": "samples against raters",
        "data": f"{recipe.data.source}, {args.split}",
        "cases": count,
        "patients": len({case.group for case in loaded.cases[:count]}),
        "steps": steps,
        "points": points,
        **machine(),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    with open(args.output / "raters.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["arm", *next(iter(rows.values()))[0]])
        writer.writeheader()
        writer.writerows({"arm": arm, **row} for arm, found in rows.items() for row in found)
    (args.output / "raters.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(points, args.samples, args.output / "raters.png")
    for each in points:
        print(json.dumps(each))


@torch.inference_mode()
def draw_masks(
    hybrid: HybridSegmentor,
    baseline: HybridSegmentor | None,
    items: Sequence[Item],
    numbers: Sequence[int],
    num_steps: int,
) -> Iterator[tuple[str, Masks]]:
    """Arm -> masks (samples, images, h, w) of whole images of one size."""
    image = torch.stack([item["image"] for item in items])
    image = image.contiguous(memory_format=torch.channels_last)
    if baseline is not None:
        yield "baseline, one mask", bits(baseline.look(image).prior)[None]
    look = hybrid.look(image)
    yield "hybrid's prior, one mask", bits(look.prior)[None]
    names = [item["name"] for item in items]
    uniforms = [uniform_of(names, sample, look.prior) for sample in range(max(numbers))]
    pixelwise = np.stack([bits(0.5 + look.prior - uniform(0)) for uniform in uniforms])
    steps = subset(hybrid.schedule.num_steps, num_steps)
    [last] = deque(hybrid.refine(image, look, steps, uniforms), maxlen=1)
    refined = np.stack([bits(step.y0_hat) for step in last])
    for number in numbers:
        yield f"pixels of the prior, {number}", pixelwise[:number]
        yield f"hybrid, {number}", refined[:number]


def uniform_of(names: Sequence[str], sample: int, like: Tensor) -> Callable[[int], Tensor]:
    """The draws of one sample: of each image by its name."""

    def uniform(t: int) -> Tensor:
        shape = tuple(like.shape[1:])
        fields = [seeding.uniform_field(SEED, name, sample, t, shape=shape) for name in names]
        return torch.stack(fields)

    return uniform


def bits(probability: Tensor) -> Masks:
    """(b 1 h w) -> (b h w), cut at 0.5; of one class."""
    return (probability[:, 0] >= 0.5).numpy()


def judge(loaded: LoadedCases, number: int, masks: Masks) -> Row:
    """One case's masks (samples, h, w) against all of its raters'."""
    case = loaded.cases[number]
    raters = loaded.stored(number)["raters"][:, 0].numpy()
    key = {"case": case.name, "group": case.group, "class": "nodule", "source": "refined"}
    return {**key, **rater_metrics(masks, raters)}


def point(summary: Summary) -> dict[str, list[float | None]]:
    """Mean and interval of each metric."""
    found = {}
    for metric in summary.metrics:
        interval = summary.entry(MEAN, metric).refined
        assert interval
        found[metric] = [interval.mean, interval.low, interval.high]
    return found


def plot(points: Sequence[dict], numbers: Sequence[int], path: Path) -> None:
    """Both metrics against the number of samples; single masks as levels."""
    by_arm = {each["arm"]: each for each in points}
    figure, places = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for place, (metric, title) in zip(places, TITLES.items(), strict=True):
        for arm, style in (("baseline, one mask", "--"), ("hybrid's prior, one mask", ":")):
            place.axhline(by_arm[arm][metric][0], linestyle=style, color="black", label=arm)
        for name in ("hybrid", "pixels of the prior"):
            found = np.array([by_arm[f"{name}, {number}"][metric] for number in numbers], float)
            below, above = found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]
            place.errorbar(numbers, found[:, 0], [below, above], marker="o", capsize=3, label=name)
        place.set(xscale="log", xlabel="samples", ylabel=title)
        place.set_xticks(numbers, [str(number) for number in numbers])
    places[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
