"""Models there and back: hub folder, packed file and ONNX against the model itself.

    HIDIFF_DATA=... python research/reliability/round_trips.py [--run RUN] [--images 5]

Labels are compared pixel by pixel, and Dice against the ground truth: `vessels` on DRIVE's test
images, `nodules` on LIDC's last nodules, and a model of your own (`--run`) on the images of its
recipe. An image is seen as the model sees it, cut to sides of multiples of 32, in one window. With
one step, and with several steps and draws. A packed model has no other packed file: models that
come with HiDiff are packed already.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from PIL import Image
from torch import Tensor

import hidiff
from hidiff import experiment, export, seeding
from hidiff.diffusion import subset
from hidiff.evaluation import read_truth

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

SETTINGS = {
    "one step": {"steps": 1, "samples": 1, "temperature": 0.0},
    "4 steps, 3 draws": {"steps": 4, "samples": 3, "temperature": 0.5},
}
Labels = Callable[[str, Tensor], np.ndarray]
"""the labels of an image, by its name and its values"""


class Seen(NamedTuple):
    """An image as the networks see it, and its true labels."""

    name: str
    values: Tensor
    truth: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="the folder of a run of hidiff train")
    parser.add_argument("--images", type=int, default=5)
    args = parser.parse_args()
    rows = []
    for name in ("vessels", "nodules", *([args.run] if args.run else [])):
        model = hidiff.load(name)
        images = IMAGES.get(str(name), of_recipe)(model, args.images)
        for amount, changes in SETTINGS.items():
            truths = {image.name: labels_of(model, changes)(*image[:2]) for image in images}
            with tempfile.TemporaryDirectory() as scratch:
                for way, labels in ways(model, name, Path(scratch), changes):
                    found = {"model": model.name, "way": way, "amount": amount}
                    rows.append({**found, **compare(truths, labels, images)})
                    print(rows[-1], flush=True)
    timing.write({"machine": timing.machine(), "rows": rows}, __file__, "round_trips")


def of_drive(model: hidiff.Model, count: int) -> list[Seen]:
    """Return DRIVE's first test images."""
    folder = Path(os.environ["HIDIFF_DATA"]) / "DRIVE" / "test"
    found = []
    for file in sorted((folder / "images").iterdir())[:count]:
        number = file.name.split("_")[0]
        truth = np.asarray(Image.open(folder / "1st_manual" / f"{number}_manual1.gif")) // 255
        found.append(as_seen(model, file.stem, file, truth))
    return found


def of_lidc(model: hidiff.Model, count: int) -> list[Seen]:
    """Return LIDC's last nodules, as the first rater drew them."""
    file = np.load(Path(os.environ["HIDIFF_DATA"]) / "LIDC" / "nodules_4raters.npz")
    masks = np.unpackbits(file["mask_packed"][-count:], axis=-1)[:, 0]
    pairs = zip(file["image"][-count:], masks, strict=True)
    return [as_seen(model, f"nodule{n}", *pair) for n, pair in enumerate(pairs)]


def of_recipe(model: hidiff.Model, count: int) -> list[Seen]:
    """Return the first images of the recipe of the model."""
    cases = experiment.list_cases(model.recipe, "test")[:count]
    truths = [read_truth(case, model.predictor).labels for case in cases]
    pairs = zip(cases, truths, strict=True)
    return [as_seen(model, case.name, case.image, truth) for case, truth in pairs]


IMAGES: dict[str, Callable[[hidiff.Model, int], list[Seen]]] = {
    "vessels": of_drive,
    "nodules": of_lidc,
}


def as_seen(model: hidiff.Model, name: str, image: Any, truth: np.ndarray) -> Seen:
    """Return an image as the model sees it, cut to multiples of 32."""
    values = model.predictor.open(image, name=name).seen(0)
    rows, columns = values.shape[2:]
    resized = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((columns, rows), 0))
    height, width = rows // 32 * 32, columns // 32 * 32
    return Seen(name, values[..., :height, :width], resized[:height, :width])


def ways(
    model: hidiff.Model, name: Any, folder: Path, changes: dict
) -> Iterator[tuple[str, Labels]]:
    """Yield each way of sharing, and the labels of the model that came back by it."""
    yield "hub folder", labels_of(hidiff.load(model.save_pretrained(folder / "hub")), changes)
    file = experiment.open_model(name)
    if not file.packed and file.recipe.refiner.precision == "binary":
        hybrid, num_steps = experiment.load_hybrid(file), file.recipe.diffusion.num_steps
        packed = export.pack_refiner(hybrid.refiner, subset(num_steps, num_steps))
        path = folder / "packed.safetensors"
        export.save_packed(path, hybrid.segmentor, packed, file.metadata)
        yield "packed file", labels_of(hidiff.load(path), changes)
    files = experiment.export_onnx(name, folder / "model.onnx", changes["steps"])
    yield "ONNX", labels_in_onnx(model, files, changes)


def labels_of(model: hidiff.Model, changes: dict) -> Labels:
    """Return HiDiff's own labels of an image in one window."""
    predictor = model.predictor

    def labels(name: str, values: Tensor) -> np.ndarray:
        size = tuple(values.shape[2:])
        settings = predictor.change_settings(
            {"window_size": size, "mirror": False, "rule": "half", **changes}
        )
        (found,) = predictor.predict_slices(
            values, [name], settings, size=size, refine=model.refines
        )
        return found.labels

    return labels


def labels_in_onnx(model: hidiff.Model, files: list[Path], changes: dict) -> Labels:
    """Return the labels by ONNX Runtime, with HiDiff's own random numbers."""
    sessions = [onnxruntime.InferenceSession(file) for file in files]

    def labels(name: str, values: Tensor) -> np.ndarray:
        image, planes = values.numpy(), model.labels.num_planes
        hints = np.zeros((1, planes, *values.shape[2:]), np.float32)  # nothing is marked
        if len(sessions) == 1:
            inputs = {"image": image, "hints": hints}
            return sessions[0].run(["labels"], only_known(sessions[0], inputs))[0][0]
        segmentor, step = sessions
        prior, first, *maps = segmentor.run(None, {"image": image})
        names = [output.name for output in segmentor.get_outputs()][2:]
        fixed = {
            "image": image,
            "prior": prior,
            "hints": hints,
            **dict(zip(names, maps, strict=True)),
        }
        fixed["temperature"] = np.array([changes["temperature"]], np.float32)
        steps = subset(model.recipe.diffusion.num_steps, changes["steps"])
        total = np.zeros_like(prior)
        for sample in range(changes["samples"]):
            chance, y0_hat = first, prior
            for t, next_t in zip(steps, [*steps[1:], 0], strict=True):
                drawn = seeding.uniform_window(
                    0, name, 0, sample, t, planes=planes, top=0, left=0,
                    height=prior.shape[2], width=prior.shape[3],
                )  # fmt: skip
                uniform = {"chance": chance, "uniform": drawn.numpy()[None]}
                times = {"t": np.array([t]), "next_t": np.array([next_t])}
                y0_hat, chance = step.run(None, only_known(step, {**fixed, **uniform, **times}))
            total += y0_hat
        return model.labels.decode(total[0] / changes["samples"])

    return labels


def only_known(session: Any, inputs: dict) -> dict:
    """Return the inputs that a graph has."""
    return {each.name: inputs[each.name] for each in session.get_inputs()}


def compare(truths: dict[str, np.ndarray], labels: Labels, images: list[Seen]) -> dict:
    """Return the share of equal labels (mean and least), and the difference in Dice."""
    same, ours, theirs = [], [], []
    for name, values, truth in images:
        found = labels(name, values)
        same.append(float((truths[name] == found).mean()))
        ours.append(dice(truths[name], truth))
        theirs.append(dice(found, truth))
    return {
        "images": len(images),
        "same_labels": float(np.mean(same)),
        "least_same_labels": min(same),
        "dice": float(np.mean(ours)),
        "dice_difference": float(np.mean(theirs) - np.mean(ours)),
        "largest_dice_difference": float(np.abs(np.subtract(theirs, ours)).max()),
    }


def dice(labels: np.ndarray, truth: np.ndarray) -> float:
    """Return the Dice of all foreground; 1 where there is none in both."""
    found, wanted = labels > 0, truth > 0
    both = found.sum() + wanted.sum()
    return float(2 * (found & wanted & (labels == truth)).sum() / both) if both else 1.0


if __name__ == "__main__":
    main()
