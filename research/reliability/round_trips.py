"""Models there and back: hub folder, packed file and ONNX against the model itself.

    HIDIFF_DATA=... python research/reliability/round_trips.py [--run RUN] [--cases 10]

Labels are compared pixel by pixel, and Dice against the ground truth: `vessels` on DRIVE's test
images, `nodules` on nodules of LIDC, a model of your own (`--run`) on the images of its recipe.
With one step, and with several steps and draws.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

import hidiff
from hidiff import experiment, export, seeding
from hidiff.datasets import Case
from hidiff.diffusion import subset
from hidiff.evaluation import read_truth
from hidiff.prediction import predictor as predictor_module
from hidiff.prediction.tiling import Tile, predict_tiles
from hidiff.recipe import change_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

DRAWS = {"steps": 4, "samples": 3, "temperature": 0.5}
Images = list[tuple[str, Any, np.ndarray]]
"""name, image and true labels"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="the folder of a run of hidiff train")
    parser.add_argument("--cases", type=int, default=10)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("vessels", "nodules", *([args.run] if args.run else [])):
            model = hidiff.load(name)
            images = IMAGES.get(str(name), of_recipe)(model, args.cases)
            for changes in ({"steps": 1}, DRAWS):
                folder = Path(scratch) / f"{Path(name).name}{len(changes)}"
                for way, other in ways(model, name, folder, changes):
                    with other as theirs:
                        rows.append(compare(model, theirs, images, changes))
                    rows[-1] = {"model": model.name, "way": way, **changes, **rows[-1]}
                    print(rows[-1], flush=True)
    timing.write({"machine": timing.machine(), "rows": rows}, __file__, "round_trips")


def of_drive(model: hidiff.Model, count: int) -> Images:
    recipe = change_recipe(model.recipe, ["data.source=drive", "data.path=DRIVE"])
    return of_cases(model, experiment.list_cases(recipe, "test")[:count])


def of_lidc(_: hidiff.Model, count: int) -> Images:
    file = np.load(Path(os.environ["HIDIFF_DATA"]) / "LIDC" / "nodules_4raters.npz")
    masks = np.unpackbits(file["mask_packed"][-count:], axis=-1)[:, 0]
    images = file["image"][-count:]
    return [(f"nodule{number}", images[number], masks[number]) for number in range(len(images))]


def of_recipe(model: hidiff.Model, count: int) -> Images:
    return of_cases(model, experiment.list_cases(model.recipe, "test")[:count])


IMAGES: dict[str, Callable[[hidiff.Model, int], Images]] = {"vessels": of_drive, "nodules": of_lidc}


def of_cases(model: hidiff.Model, cases: list[Case]) -> Images:
    found = []
    for case in cases:
        truth = read_truth(case, model.predictor)
        found.append((case.name, case.image, truth.labels))
    return found


def ways(model: hidiff.Model, name: Any, folder: Path, changes: dict) -> Iterator[tuple[str, Any]]:
    """Yield each way of sharing, and the model that came back by it, to be used in a `with`."""
    folder.mkdir()

    @contextmanager
    def loaded(path: Path) -> Iterator[hidiff.Model]:
        yield hidiff.load(path)

    yield "hub folder", loaded(model.save_pretrained(folder / "hub"))
    file = experiment.open_model(name)
    if not file.packed and file.recipe.refiner.precision == "binary":
        hybrid, num_steps = experiment.load_hybrid(file), file.recipe.diffusion.num_steps
        packed = export.pack_refiner(hybrid.refiner, subset(num_steps, num_steps))
        export.save_packed(folder / "packed.safetensors", hybrid.segmentor, packed, file.metadata)
        yield "packed file", loaded(folder / "packed.safetensors")
    files = experiment.export_onnx(name, folder / "model.onnx", changes["steps"])
    yield "ONNX", in_onnx(model, files)


@contextmanager
def in_onnx(model: hidiff.Model, files: list[Path]) -> Iterator[hidiff.Model]:
    """Let the model's windows be computed by ONNX Runtime."""
    sessions = [onnxruntime.InferenceSession(file) for file in files]

    def refine_windows(hybrid, images, names, settings, *, window, device, refine, trace):
        def look(tiles: Tensor, places: list[Tile]) -> dict[str, Tensor]:
            if len(sessions) == 1:
                probability, prior = sessions[0].run(
                    ["probability", "prior"], {"image": tiles.numpy()}
                )
            else:
                corners = [(names[tile.image], tile.top, tile.left) for tile in places]
                steps = subset(hybrid.schedule.num_steps, settings.steps)
                probability, prior = in_steps(sessions, tiles.numpy(), corners, steps, settings)
            return {"mean": torch.from_numpy(probability), "prior": torch.from_numpy(prior)}

        return predict_tiles(
            look, images, window, overlap=settings.overlap, batch_size=settings.windows,
            device=device,
        )  # fmt: skip

    ours = predictor_module.refine_windows
    predictor_module.refine_windows = refine_windows
    try:
        yield model
    finally:
        predictor_module.refine_windows = ours


def in_steps(
    sessions: list, image: np.ndarray, corners: list, steps: list[int], settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the samples and the prior: the loop of docs/sharing.md."""
    segmentor, step = sessions
    prior, first, *maps = segmentor.run(None, {"image": image})
    names = [output.name for output in segmentor.get_outputs()][2:]
    fixed = {"image": image, "prior": prior, **dict(zip(names, maps, strict=True))}
    fixed["temperature"] = np.array([settings.temperature_or_default], np.float32)
    planes, height, width = prior.shape[1:]
    total = np.zeros_like(prior)
    for sample in range(settings.samples):
        chance, y0_hat = first, prior
        for t, next_t in zip(steps, [*steps[1:], 0], strict=True):
            fields = [
                seeding.uniform_window(
                    settings.seed, name, 0, sample, t,
                    planes=planes, top=top, left=left, height=height, width=width,
                )
                for name, top, left in corners
            ]  # fmt: skip
            drawn = {"chance": chance, "uniform": torch.stack(fields).numpy()}
            times = {"t": np.array([t]), "next_t": np.array([next_t])}
            y0_hat, chance = step.run(None, {**fixed, **drawn, **times})
        total += y0_hat
    return total / settings.samples, prior


REMEMBERED: dict[tuple, np.ndarray] = {}


def compare(ours: hidiff.Model, theirs: hidiff.Model, images: Images, changes: dict) -> dict:
    """Return the share of equal labels (mean and least), and the mean difference in Dice."""
    same, differences, dices = [], [], []
    for name, image, truth in images:
        key = (ours.path, name, *changes.items())
        other = theirs.predict(image, name=name, **changes).labels
        if key not in REMEMBERED:  # by the first way, which is another model: ONNX comes last
            assert theirs is not ours
            REMEMBERED[key] = ours.predict(image, name=name, **changes).labels
        before = REMEMBERED[key]
        same.append(float((before == other).mean()))
        dices.append(dice(before, truth))
        differences.append(dice(other, truth) - dices[-1])
    return {
        "images": len(images),
        "same_labels": float(np.mean(same)),
        "least_same_labels": min(same),
        "dice": float(np.mean(dices)),
        "dice_difference": float(np.mean(differences)),
        "largest_dice_difference": float(np.abs(differences).max()),
    }


def dice(labels: np.ndarray, truth: np.ndarray) -> float:
    """Return the Dice of all foreground; 1 where there is none in both."""
    found, wanted = labels > 0, truth > 0
    both = found.sum() + wanted.sum()
    return float(2 * (found & wanted & (labels == truth)).sum() / both) if both else 1.0


if __name__ == "__main__":
    main()
