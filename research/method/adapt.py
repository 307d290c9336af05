"""What does `hidiff adapt` gain behind a model that cannot be trained again?

    export HIDIFF_DATA=...
    python research/method/adapt.py heart --priors runs/foreign_unet --kind mask
    python research/method/adapt.py eye --priors runs/chase_db1_on_drive

heart: ACDC behind the 3-D U-Net of `foreign_unet.py`, which was trained on patients 001-030. A
refiner is adapted on 031-080, and tested on 081-100. eye: DRIVE behind the segmentor of the
shipped model `vessels`, which was trained on CHASE_DB1 (`foreign_eye.py`); adapted on the 20
training images and tested on the 20 test images, in their fields of view. The command runs as
anybody would run it, with `--set` for its length, and holds patients of its own out, too. A row
goes to the end of `--rows`: the gain over the other model's own masks, with its interval.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hidiff import experiment
from hidiff.datasets import Case
from hidiff.evaluation import evaluate
from hidiff.evaluation.gain import Gain, measure_gain
from hidiff.images import find_prior
from hidiff.metrics.table import Row

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

ROWS = Path(__file__).parent / "results" / "adapt.jsonl"


@dataclass(frozen=True)
class Task:
    """Images, masks, and who adapts and who tests."""

    data: str
    images: str
    masks: str
    adapts: Callable[[str], bool]
    """returns True for a case that belongs to the adaptation; the others test"""
    find_mask: Callable[[str], str]
    """the name of a case's mask file, by the name of its image file"""
    name_of: Callable[[str], str]
    """the name of a case, by the name of its image file"""
    changes: tuple[str, ...] = ()


HEART = Task(
    data="ACDC, 3-D U-Net of patients 001-030",
    images="nnUNet_raw/Dataset027_ACDC/imagesTr",
    masks="nnUNet_raw/Dataset027_ACDC/labelsTr",
    adapts=lambda name: int(name[7:10]) <= 80,
    find_mask=lambda file: file.replace("_0000", ""),
    name_of=lambda file: file.replace("_0000.nii.gz", ""),
)
EYE = Task(
    data="DRIVE, segmentor of the shipped model vessels (CHASE_DB1)",
    images="DRIVE/{part}/images",
    masks="DRIVE/{part}/1st_manual",
    adapts=lambda name: "training" in name,
    find_mask=lambda file: f"{file[:2]}_manual1.gif",
    name_of=lambda file: file.removesuffix(".tif"),
    changes=("data.intensity={kind: unit}",),
)
TASKS = {"heart": HEART, "eye": EYE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--priors", type=Path, required=True)
    parser.add_argument("--kind", choices=("probability", "mask"), default="probability")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--rows", type=Path, default=ROWS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    task, start = TASKS[args.task], time.monotonic()
    name = f"adapt_{args.task}_{args.kind}_{args.seed}"
    cases = list_cases(task, args.priors, args.kind)
    adapting = [case for case in cases if task.adapts(case.name)]
    folders = link_folders(adapting, args.output / f"{name}_data", args.kind)
    changes = [
        f"seed={args.seed}", f"training.stage2_steps={args.steps}",
        f"training.validate_every={args.steps}", *task.changes, *args.changes,
    ]  # fmt: skip
    run_adapt(folders, name, args.kind, args.output, changes)
    seconds = time.monotonic() - start
    predictor = experiment.load_predictor(args.output / name)
    tested = evaluate(predictor, [case for case in cases if not task.adapts(case.name)])
    row = {
        "data": task.data, "priors": args.kind, "seed": args.seed, "steps": args.steps,
        "adapted on": len(adapting), **describe(measure_gain(tested)), "classes": by_class(tested),
        "adapt_seconds": round(seconds), "changes": changes, **machine(),
    }  # fmt: skip
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    with open(args.rows, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


def list_cases(task: Task, priors: Path, kind: str) -> list[Case]:
    """Return the cases with a prior, those to adapt on and those to test on."""
    root, found = Path(os.environ["HIDIFF_DATA"]), []
    for part in ("training", "test") if "{part}" in task.images else ("",):
        images, masks = (root / each.format(part=part) for each in (task.images, task.masks))
        for image in sorted(images.iterdir()):
            name, mask = task.name_of(image.name), masks / task.find_mask(image.name)
            if any(priors.glob(f"{name}.*")):
                prior = find_prior(priors, name, kind)
                field = root / f"DRIVE/{part}/mask/{name}_mask.gif" if part else None
                group = name[:10] if not part else name
                has_spacing = bool(part)  # ACDC was published without
                found.append(Case(name, image, mask, field, group, has_spacing, prior))
    return found


def link_folders(cases: Sequence[Case], root: Path, kind: str) -> list[Path]:
    """Return folders of images, masks and priors with links to the files of these cases alone."""
    folders = [root / name for name in ("images", "masks", "priors")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        prior = Path(str(case.prior))
        for folder, file in zip(folders, (case.image, case.mask, prior), strict=True):
            link(Path(str(file)), folder / f"{case.name}{''.join(Path(str(file)).suffixes)}")
        beside = prior.with_name(f"{case.name}.nii.gz")
        if kind == "probability" and beside.is_file():
            link(beside, folders[2] / beside.name)
    for name in ("plans.json", "dataset.json"):
        file = Path(str(cases[0].prior)).with_name(name)
        if file.is_file():
            link(file, folders[2] / name)
    return folders


def link(file: Path, place: Path) -> None:
    """Put a link to a file at a place, unless it is there."""
    if not place.exists():
        place.symlink_to(file.absolute())


def run_adapt(
    folders: Sequence[Path], name: str, kind: str, output: Path, changes: Sequence[str]
) -> None:
    """Run the command; its words are printed."""
    words = ["adapt", *folders, "--name", name, "--kind", kind, "--output", output, "--overwrite"]
    words += [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "hidiff", *map(str, words)]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)


def describe(gain: Gain) -> dict[str, float | int | None]:
    """Return a gain as plain numbers."""
    change = gain.change
    numbers = {"before": gain.before, "after": gain.after, "gain": change.mean}
    return {**numbers, "low": change.low, "high": change.high, "n": change.n}


def by_class(rows: Sequence[Row]) -> dict[str, dict[str, float | int | None]]:
    """Return the gain of each class."""
    names = dict.fromkeys(row["class"] for row in rows)
    return {
        name: describe(measure_gain([row for row in rows if row["class"] == name]))
        for name in names
    }


if __name__ == "__main__":
    main()
