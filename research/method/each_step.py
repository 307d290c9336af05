"""What does the refiner know at each t that the prior did not? Cross-entropy, calibration, Dice.

    HIDIFF_DATA=... python research/method/each_step.py runs/drive [--split test] [--cases 20]

At each t in T..1 yt is drawn from the truth as in training, so that t = T is pure noise of the
prior and t = 1 shows most of the mask. `y0_hat` is the refiner's; `bayes` is the exact answer to
the same yt for a calibrated prior and independent pixels, which a refiner gives that has learned
nothing (diffusion.residual_y0_logits of 0). Where their cross-entropies are equal, it has nothing
to say. Beside them the prior itself, and its logits divided by the temperature that fits the truth
best: above 1 it was too sure. Images are cut into tiles of the training patches' size; what is left
over at the right and lower edge does not count.
Adds an entry to research/method/results/each_step.json.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hidiff import experiment, seeding
from hidiff.diffusion import draw, q_mean, residual_y0_logits
from hidiff.hybrid import HybridSegmentor
from hidiff.loading import LoadedCases
from hidiff.metrics import Reliability, reliability

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

RESULTS = Path(__file__).parent / "results" / "each_step.json"
TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0)
LEAST = 1e-6  # chances nearer to 0 or 1 cost no more


class Tally:
    """The scores of one answer: nats per bit, Dice per image, and the sums of its reliability."""

    def __init__(self) -> None:
        self.nats: list[float] = []
        self.dice: list[float] = []
        self.curve: Reliability | None = None

    def add(self, chance: Tensor, y0: Tensor, inside: Tensor) -> None:
        self.nats.append(nats(chance, y0, inside))
        said, true = (chance >= 0.5)[..., inside], y0[..., inside] > 0.5
        either = int(said.sum() + true.sum())
        self.dice.append(2 * int((said & true).sum()) / either if either else 1.0)
        for each in reliability(chance.numpy(), y0.numpy(), inside.numpy()):
            self.curve = each if self.curve is None else self.curve + each

    def told(self) -> dict[str, float]:
        assert self.curve is not None
        means = {"nats": float(np.mean(self.nats)), "dice": float(np.mean(self.dice))}
        return {name: round(x, 5) for name, x in {**means, "ece": self.curve.error}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=20, help="evenly spread over the split's")
    parser.add_argument("--name", help="of the entry; left out: the data set's")
    args = parser.parse_args()
    torch.set_num_threads(1)

    model = experiment.open_model(args.model)
    recipe = model.recipe
    if recipe.diffusion.kind != "bernoulli" or recipe.diffusion.noise != "prior":
        parser.error("this is of Bernoulli diffusion whose noise is the prior")
    loaded = experiment.load_cases(recipe, experiment.list_cases(recipe, args.split))
    hybrid = experiment.load_hybrid(model).eval()
    numbers = range(0, len(loaded), max(1, len(loaded) // args.cases))[: args.cases]
    tallies, fits = look_at(hybrid, loaded, numbers, recipe.data.patch_size)
    steps = range(hybrid.schedule.num_steps, 0, -1)
    found = {
        "split": args.split,
        "cases": len(numbers),
        "prior": tallies["prior"].told(),
        "temperatures": {str(t): round(float(np.mean(each)), 5) for t, each in fits.items()},
        "steps": [
            {"t": t, **{who: tallies[f"{who} {t}"].told() for who in ("bayes", "y0_hat")}}
            for t in steps
        ],
    }
    entries = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    write({**entries, args.name or recipe.data.source: found | machine()}, __file__, RESULTS.stem)


@torch.inference_mode()
def look_at(
    hybrid: HybridSegmentor, loaded: LoadedCases, numbers: Sequence[int], size: tuple[int, int]
) -> tuple[dict[str, Tally], dict[float, list[float]]]:
    """Every answer's tally, and nats of the prior at each temperature."""
    tallies: dict[str, Tally] = {}
    fits: dict[float, list[float]] = {each: [] for each in TEMPERATURES}
    for number in numbers:
        item: Any = loaded[number]
        image, y0, view = (tiles(item[key], size) for key in ("image", "y0", "field_of_view"))
        inside = in_a_row(view)[0] > 0
        look = hybrid.look(image.contiguous(memory_format=torch.channels_last))
        for name, chance in answers(hybrid, image, y0, look, item["name"]):
            tallies.setdefault(name, Tally()).add(in_a_row(chance), in_a_row(y0), inside)
        for temperature, each in fits.items():
            softer = hybrid.labels.activate(look.logits / temperature)
            each.append(nats(in_a_row(softer), in_a_row(y0), inside))
        print(item["name"], flush=True)
    return tallies, fits


def answers(
    hybrid: HybridSegmentor, image: Tensor, y0: Tensor, look: Any, name: str
) -> Iterator[tuple[str, Tensor]]:
    """The prior, and at each t what is right of a calibrated one and what the refiner says."""
    yield "prior", look.prior
    for step in range(hybrid.schedule.num_steps, 0, -1):
        t = torch.full((len(image),), step)
        alpha_bar = hybrid.schedule.at(t)
        field = seeding.uniform_field(0, name, 0, step, shape=tuple(y0.shape))
        yt = draw(q_mean(y0, look.prior, alpha_bar), field)
        nothing = residual_y0_logits(torch.zeros_like(yt), yt, look.prior, alpha_bar)
        yield f"bayes {step}", nothing.sigmoid()
        raw = hybrid.refiner(image, yt, look.prior, t, look.features)
        yield f"y0_hat {step}", hybrid.process.target(raw, yt, look.prior, alpha_bar).sigmoid()


def nats(chance: Tensor, y0: Tensor, inside: Tensor) -> float:
    """Cross-entropy of the bits inside the field of view."""
    chance = chance.clamp(LEAST, 1 - LEAST)
    each = -torch.where(y0 > 0.5, chance.log(), (1 - chance).log())
    return float(each[..., inside].mean())


def tiles(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(c h w) -> the whole tiles of it, (n c th tw)."""
    height, width = size
    cut = x.unfold(1, height, height).unfold(2, width, width)
    return cut.permute(1, 2, 0, 3, 4).flatten(0, 1)


def in_a_row(x: Tensor) -> Tensor:
    """(n k h w) -> (k n*h w)."""
    return x.transpose(0, 1).flatten(1, 2)


if __name__ == "__main__":
    main()
