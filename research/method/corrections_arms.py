"""The data sets, priors and trained arms of research/method/corrections.py."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hidiff import experiment
from hidiff.datasets.sets.lidc import LIDC_FILE, read_lidc
from hidiff.datasets.splits import SPLITS
from hidiff.recipe import Recipe, change_recipe, read_recipe
from hidiff.training import count_flops
from hidiff.training.log import METRICS_FILE
from hidiff.training.stages import REFINER_ONLY

MINI = Path(__file__).parents[1] / "suites" / "mini"
RATER_SEED = 123  # draws the one rater of each LIDC crop
LIDC_SIDE = 64  # pixels in the middle of a crop


@dataclass(frozen=True)
class DataSet:
    """A data set of the protocol, and how its priors and refiners are trained."""

    recipe: str
    """file in suites/mini"""
    changes: tuple[str, ...] = ()
    weak_steps: int = 100
    """steps of the segmentor that is stopped early"""
    steps: int = 1200
    """steps of the refiner"""
    batch_size: int = 8
    """patches of a step of the refiner"""
    marks: int = 20
    """marks of the evaluation, at most"""
    strokes: bool = False
    """True: corrections are strokes along missed vessels; False: clicks"""
    every: int = 1
    """step from one corrected slice to the next, among those that show a class"""


FPN = (
    "segmentor.name=efficientnet_lite0_fpn",
    "segmentor.options={pretrained: true}",
)  # as in suites/abdomen_brain.yaml
DATA = {
    "kvasir": DataSet("kvasir_seg.yaml", ("training.batch_size=8",), steps=800, batch_size=4),
    "lidc": DataSet(
        "lidc.yaml",
        (
            "data.source=folder",
            "data.path=lidc_one_rater",
            "data.patch_size=[64, 64]",
            "data.splitting={group: '^(patient-[0-9]+)'}",
            "training.batch_size=8",
        ),
        weak_steps=400,
        steps=400,
    ),
    "acdc": DataSet("acdc.yaml", ("training.batch_size=8",), weak_steps=500, marks=3),
    "drive": DataSet(
        "drive.yaml", ("training.batch_size=16",), weak_steps=300, marks=10, strokes=True
    ),
    "synapse": DataSet("synapse_257.yaml", FPN, steps=400, batch_size=4, marks=3, every=5),
    "lgg": DataSet("lgg_flair.yaml", FPN, steps=400, batch_size=4, marks=3, every=2),
}

HINTS = {"refiner.hints": True, "training.correction": {"marks": 5, "rounds": 1}}
LAST_STEP = {"training.last_step_share": 1.0, "training.last_step_bits": "likeliest"}
NO_KL = {"training.loss": {"kl": 0, "cross_entropy": 1, "soft_dice": 1}}
CHOSEN = HINTS | LAST_STEP | NO_KL


@dataclass(frozen=True)
class Arm:
    """A refiner that is trained, and how it differs from the chosen one."""

    changes: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    times: float = 1.0
    """the training's FLOPs, as a multiple of the chosen arm's"""


ARMS = {
    "chosen": Arm(CHOSEN, "marks as wide as fits, t = T alone, likeliest bits, no KL, one round"),
    "longer": Arm(CHOSEN, "the chosen arm with three times the steps", times=3.0),
    "no hints": Arm(
        LAST_STEP | NO_KL, "marks are evidence alone: no hint planes, none in training"
    ),
    "no hints longer": Arm(LAST_STEP | NO_KL, "the same with three times the FLOPs", times=3.0),
    "small disks": Arm(
        CHOSEN | {"training.correction": {"marks": 5, "rounds": 1, "radius": 1.5}},
        "clicks of 3 pixels in training",
    ),
    "half unmarked": Arm(
        CHOSEN | {"training.correction": {"marks": 5, "rounds": 1, "unmarked": 0.5}},
        "half of the patches are without a mark in training, not three in ten",
    ),
    "half at T": Arm(CHOSEN | {"training.last_step_share": 0.5}, "half of the draws of t are T"),
    "most at T": Arm(CHOSEN | {"training.last_step_share": 0.8}, "four fifths of them"),
    "drawn": Arm(CHOSEN | {"training.last_step_bits": "drawn"}, "yT drawn by chance"),
    "prior": Arm(CHOSEN | {"diffusion.last_step_input": "prior"}, "yT is the prior itself"),
    "KL": Arm(HINTS | LAST_STEP, "KL in the loss"),
    "no rounds": Arm(
        CHOSEN | {"training.correction": {"marks": 5, "rounds": 0}}, "marks at the prior's errors"
    ),
    "two rounds": Arm(CHOSEN | {"training.correction": {"marks": 5, "rounds": 2}}, "two rounds"),
    "real": Arm(CHOSEN | {"refiner.precision": "real"}, "no 1-bit layers"),
    "fine": Arm(CHOSEN | {"refiner.fine": True}, "the refiner sees the image at strides 1 and 2"),
}
RITM = "RITM"


def base_recipe(data: str, seed: int) -> Recipe:
    """Return the recipe that priors and arms start from."""
    each = DATA[data]
    return read_recipe(MINI / each.recipe, [*each.changes, f"seed={seed}"])


def train_prior(data: str, prior: str, runs: Path) -> Path:
    """Train the segmentor, weak (stopped early) or as in today's suites; return its file."""
    steps = [f"training.stage1_steps={DATA[data].weak_steps}"] if prior == "weak" else []
    recipe = base_recipe(data, 0)
    recipe = experiment_recipe(recipe, f"{data}_{prior}", [*steps, "training.stage2_steps=0"])
    return train(recipe, runs) / "stage1.safetensors"


def train_arm(
    data: str, prior: str, arm: str, seed: int, runs: Path
) -> tuple[Path, dict[str, int]]:
    """Train a refiner behind the frozen segmentor; return its file and what it cost."""
    folder = train(arm_recipe(data, prior, arm, seed, runs), runs)
    with open(folder / METRICS_FILE, encoding="utf-8") as lines:
        plan = json.loads(next(lines))
    return folder / "last.safetensors", {name: plan[name] for name in ("steps", "flops")}


def arm_recipe(data: str, prior: str, arm: str, seed: int, runs: Path) -> Recipe:
    """Return the recipe of an arm; all but `longer` train as many FLOPs as the chosen one."""
    weights = train_prior(data, prior, runs)
    changes = {
        "training.segmentor": "frozen",
        "segmentor.weights": str(weights),
        "training.stage2_steps": DATA[data].steps,
        "training.batch_size": DATA[data].batch_size,
        **ARMS[arm].changes,
    }
    words = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    name = f"{data}_{prior}_{arm}_seed{seed}".replace(" ", "_")
    recipe = experiment_recipe(base_recipe(data, seed), name, words)
    if arm == "chosen":
        return recipe
    chosen = arm_recipe(data, prior, "chosen", seed, runs)
    steps = round(ARMS[arm].times * DATA[data].steps * cost_of(chosen) / cost_of(recipe))
    return change_recipe(recipe, [f"training.stage2_steps={steps}"])


def cost_of(recipe: Recipe) -> int:
    """Return the FLOPs of one step of the refiner."""
    budget = count_flops(experiment.make_hybrid(recipe), recipe.data.patch_size, recipe.training)
    return budget.per_step[REFINER_ONLY]


def experiment_recipe(recipe: Recipe, name: str, changes: list[str]) -> Recipe:
    """Return the recipe of a run called `name`."""
    return change_recipe(recipe, [*changes, f"name={name}"])


def train(recipe: Recipe, runs: Path) -> Path:
    """Train in the run's folder, or go on there; return the folder."""
    folder = runs / recipe.name
    if not (folder / "done").is_file():
        experiment.train(recipe, folder, cpu=True, resume=True, validate=False)
        (folder / "done").touch()
    return folder


def write_one_rater(data: Path) -> None:
    """Write the middle of each LIDC crop with one rater's mask, of those who marked anything."""
    folder = data / "lidc_one_rater"
    image, raters, ids = read_lidc(data / "LIDC" / LIDC_FILE)
    draws, middle = np.random.default_rng(RATER_SEED), slice(LIDC_SIDE // 2, 3 * LIDC_SIDE // 2)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for pixels, masks, (patient, nodule, cut) in zip(image, raters, ids.tolist(), strict=True):
        marked = [mask for mask in masks if mask[middle, middle].any()]
        mask = marked[draws.integers(len(marked))]
        name = f"patient-{patient:04d}_nodule-{nodule}_slice-{cut:03d}.png"
        Image.fromarray(pixels[middle, middle]).save(folder / "images" / name)
        Image.fromarray(255 * mask[middle, middle]).save(folder / "masks" / name)
    for split in SPLITS:  # the patients of `hidiff data prepare lidc`
        text = (data / "lidc_prepared" / f"{split}.txt").read_text(encoding="utf-8")
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
