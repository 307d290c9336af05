"""Is anything left to refine? What a second network of any kind brings to a trained segmentor.

    HIDIFF_DATA=... python research/method/room.py runs/drive/stage1.safetensors --steps 3000 \
        --others runs/drive_seed1/stage1.safetensors runs/drive_seed2/stage1.safetensors

Two yardsticks, without diffusion, 1-bit layers or feature exchange, paired over the same cases:

- `--steps`: a cascade. The segmentor is frozen, and a real-valued U-Net (of `--width`) is trained
  on image and prior for so many steps, at the refiner's rate, with cross-entropy and soft Dice;
  what it says is added to the prior's logits.
- `--others`: an ensemble. The mean probability of segmentors of several seeds, against the mean
  score of the single ones.

Where neither gains much, do not expect much of a refiner of that size either. No bound: another
network, or more training, may find more.
Adds an entry to research/method/results/room.json.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidiff import experiment
from hidiff.datasets import Case
from hidiff.evaluation import evaluate
from hidiff.labels import MEAN
from hidiff.metrics import Entry, average_seeds, pair_arms, summarise
from hidiff.prediction import Predictor
from hidiff.recipe import Recipe, change_recipe
from hidiff.segmentors.unet import unet
from hidiff.training.ema import EMA

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

RESULTS = Path(__file__).parent / "results" / "room.json"


class Second(nn.Module):
    """A real-valued U-Net in the refiner's place, of image and prior; not of yt, t, features."""

    def __init__(self, image_channels: int, planes: int, width: int):
        super().__init__()
        self.network = unet(image_channels + planes, planes, width)
        last = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)][-1]
        assert last.bias is not None
        nn.init.zeros_(last.weight)  # it begins at the prior, like the refiner
        nn.init.zeros_(last.bias)

    def see(self, image: Tensor, features: Sequence[Tensor]) -> tuple[()]:
        return ()

    def prepare(self, features: Sequence[Tensor]) -> tuple[()]:
        return ()

    def condition(self, prepared: tuple[()], t: Tensor) -> tuple[()]:
        return ()

    def denoise(self, image: Tensor, yt: Tensor, prior: Tensor, t: Tensor, conditions: tuple[()]):
        return self.network(torch.cat([image, prior], dim=1)).logits

    def forward(self, image: Tensor, yt: Tensor, prior: Tensor, t: Tensor, features: Any) -> Tensor:
        return self.denoise(image, yt, prior, t, ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", type=Path, help="a run, or a checkpoint such as stage1.safetensors"
    )
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="of other seeds")
    parser.add_argument("--steps", type=int, default=0, help="of the cascade; 0: none")
    parser.add_argument("--width", type=int, default=16, help="of the cascade's U-Net")
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=None, help="the first few, while developing")
    parser.add_argument("--name", help="of the entry; left out: the data set's")
    args = parser.parse_args()
    torch.set_num_threads(1)

    recipe = experiment.load_recipe(args.model)
    cases = experiment.list_cases(recipe, args.split)[: args.cases]
    found: dict[str, Any] = {"split": args.split, "cases": len(cases)}
    found["patients"] = len({case.group for case in cases})
    if args.others:
        found["ensemble"] = {"of": 1 + len(args.others)} | ensemble(
            [args.model, *args.others], cases
        )
        print(found["ensemble"], flush=True)
    if args.steps:
        found["cascade"] = {"steps": args.steps, "width": args.width} | cascade(
            recipe, args.model, args.steps, args.width, cases
        )
        print(found["cascade"], flush=True)
    entries = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    write({**entries, args.name or recipe.data.source: found | machine()}, __file__, RESULTS.stem)


def ensemble(models: Sequence[Path], cases: Sequence[Case]) -> dict[str, Any]:
    """The mean of all models' probabilities less the single ones' mean score."""
    apart = [judge(experiment.load_predictor(model), cases, refine=False) for model in models]
    together = judge(experiment.load_predictor(models), cases, refine=False)
    return told(summarise(pair_arms([average_seeds(apart)], [together])).entry(MEAN, "dice"))


def cascade(
    recipe: Recipe, model: Path, steps: int, width: int, cases: Sequence[Case]
) -> dict[str, Any]:
    """A U-Net that learns to mend the frozen segmentor's masks, less that segmentor."""
    changed = change_recipe(
        recipe,
        [
            f"segmentor.weights={experiment.find_model(model)}",
            "training.arm=hybrid",
            "training.segmentor=frozen",
            f"training.stage2_steps={steps}",
            "training.last_step_share=1",
            "training.loss={kl: 0, focal: 0, cross_entropy: 1, soft_dice: 1}",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = experiment.make_trainer(changed, Path(folder), cpu=True, validate=False)
        segmentor = trainer.hybrid.segmentor
        second = Second(segmentor.image_channels, segmentor.num_planes, width)
        stand_in: Any = second  # of all that a trainer asks of a refiner
        trainer.hybrid.refiner, trainer.ema = stand_in, EMA(stand_in)
        trainer.run()
    predictor = experiment.make_predictor(trainer.predicting().eval(), changed)
    rows = judge(predictor, cases, refine=True)
    return told(summarise(rows).entry(MEAN, "dice"))


def judge(predictor: Predictor, cases: Sequence[Case], refine: bool):
    """Rows of the cases, in one step of one sample."""
    return evaluate(predictor, cases, refine=refine, steps=1, temperature=0.0)


def told(entry: Entry) -> dict[str, Any]:
    """Dice before and after, and the paired difference."""
    assert entry.prior and entry.refined and entry.difference
    gap = entry.difference
    return {
        "before": round(entry.prior.mean, 4),
        "after": round(entry.refined.mean, 4),
        "difference": round(gap.mean, 4),
        "interval": None if gap.low is None else [round(gap.low, 4), round(gap.high or 0, 4)],
        "p": None if entry.test is None else float(f"{entry.test.p:.3g}"),
    }


if __name__ == "__main__":
    main()
