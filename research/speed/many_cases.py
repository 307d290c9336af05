"""Is the cost of a case flat however many there are: start-up, memory, processor time?

    python research/speed/many_cases.py [--images 20000] [--volumes 2000]

Tiny pictures in one folder, then tiny volumes, go through `hidiff predict` in this process, with a
segmentor of width 8 that was never trained and looks at 64x64 pixels. Nothing is refined, so that
the cost of all but the networks shows. After every 50th of the cases the processor's
time (user and system, all threads), the clock and the resident memory are noted. Start-up is the
processor's time from the command to the first case, without imports; a folder with 20 of the cases
is the comparison. Then the finished folder is given to --continue. The figure is
docs/images/many_cases.png.
"""

import argparse
import gzip
import resource
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import nibabel as nib
import numpy as np
import psutil
from PIL import Image
from typer.testing import CliRunner

from hidiff import experiment
from hidiff.cli import app, progress
from hidiff.recipe import make_recipe
from hidiff.training.state import save_model

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

ROOT = Path(__file__).parents[2]
FIGURE = ROOT / "docs" / "images" / "many_cases.png"
FEW = 20  # cases of the folder that start-up is compared with
NOTES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--volumes", type=int, default=2_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = write_model(Path(scratch, "m.safetensors"))
        found = {
            "images": measure(Path(scratch), model, write_picture, args.images),
            "volumes": measure(Path(scratch), model, write_volume, args.volumes),
        }
    result = {
        "question": "is the cost of a case flat, however many there are?",
        **found,
        **machine(),
    }
    write(result, __file__, "many_cases")
    draw(result)


def measure(scratch: Path, model: Path, write_case, count: int) -> dict:
    """Predict a folder of a few cases, then one of many, then the finished one again."""
    name = write_case.__name__
    few, many = scratch / f"{name}_few", scratch / f"{name}_many"
    for folder, number in ((few, FEW), (many, count)):
        folder.mkdir()
        for case in range(number):
            write_case(folder, case)
    predict(model, few, scratch / "warm", [])
    few_notes: list[dict] = []
    few_start = predict(model, few, scratch / f"{name}_few_out", few_notes)
    notes: list[dict] = []
    start = predict(model, many, scratch / f"{name}_out", notes)
    begun = processor_seconds()
    again = run(model, many, scratch / f"{name}_out", "--continue")
    seconds = processor_seconds() - begun
    assert f"{count} of {count} images are done, {count} of them before" in again, again
    per_case = slopes(notes, "processor")
    return {
        "cases": count,
        "startup_seconds": {str(FEW): round(few_start, 3), str(count): round(start, 3)},
        "startup_ms_per_case": round(1e3 * (start - few_start) / (count - FEW), 4),
        "continue_finished_seconds": round(seconds, 2),
        "ms_per_case": {
            "first_tenth": round(1e3 * float(np.mean(per_case[: NOTES // 10])), 2),
            "last_tenth": round(1e3 * float(np.mean(per_case[-NOTES // 10 :])), 2),
        },
        "memory_mib": {
            "first_tenth": notes[NOTES // 10]["memory"],
            "last": notes[-1]["memory"],
        },
        "wall_seconds": round(notes[-1]["wall"] - notes[0]["wall"], 1),
        "notes": notes,
    }


def slopes(notes: list[dict], key: str) -> np.ndarray:
    """Seconds a case between one note and the next."""
    values, cases = (np.array([note[name] for note in notes]) for name in (key, "case"))
    return np.diff(values) / np.diff(cases)


def predict(model: Path, folder: Path, output: Path, notes: list[dict]) -> float:
    """Run the command; return the processor's seconds until the first case was done."""
    begun, first = processor_seconds(), []
    every = max(1, len(list(folder.iterdir())) // NOTES)
    step = progress.Pace.step

    def noting(self: progress.Pace) -> None:
        step(self)
        if not first:
            first.append(processor_seconds() - begun)
        if self.done == 1 or self.done % every == 0:
            notes.append(
                {
                    "case": self.done,
                    "processor": round(processor_seconds(), 3),
                    "wall": round(time.monotonic(), 3),
                    "memory": round(psutil.Process().memory_info().rss / 2**20, 1),
                }
            )

    progress.Pace.step = noting
    try:
        run(model, folder, output)
    finally:
        progress.Pace.step = step
    return first[0]


def run(model: Path, folder: Path, output: Path, *more: str) -> str:
    words = ["predict", model, folder, "--output", output, "--device", "cpu", "--threads", "1"]
    result = CliRunner().invoke(app, [*map(str, words), *more])
    assert result.exit_code == 0, result.output
    return result.stdout


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def write_model(file: Path) -> Path:
    recipe = make_recipe(
        {
            "name": "many",
            "data": {"path": "images", "channels": 1, "patch_size": [64, 64]},
            "labels": {"kind": "one_class", "classes": {"a": [1]}},
            "segmentor": {"options": {"width": 8}},
            "refiner": {"width": 8, "condition": "once"},
        }
    )
    hybrid = experiment.make_hybrid(recipe)
    metadata = {**experiment.checkpoint_metadata(recipe), "stage": "stage1", "step": "1"}
    save_model(file, hybrid.segmentor, hybrid.refiner, metadata)
    return file


def write_picture(folder: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"case{number}.png")


def write_volume(folder: Path, number: int) -> None:
    voxels = np.random.default_rng(number).integers(0, 256, (16, 16, 2), dtype=np.uint8)
    content = nib.Nifti1Image(voxels, np.eye(4)).to_bytes()
    (folder / f"case{number}.nii.gz").write_bytes(gzip.compress(content, 1))


def draw(result: dict) -> None:
    """Draw processor time a case and memory over the number of cases."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8, 4.6), sharex="col", layout="constrained")
    for column, (name, colour) in zip(axes.T, (("images", "C0"), ("volumes", "C1")), strict=True):
        notes = result[name]["notes"]
        cases = [note["case"] for note in notes]
        column[0].plot(cases[1:], 1e3 * slopes(notes, "processor"), colour)
        column[0].set_title(f"{result[name]['cases']:,} tiny {name}")
        column[1].plot(cases, [note["memory"] for note in notes], colour)
        column[1].set_xlabel("cases done")
        for axis in column:
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("processor time\nper case (ms)")
    axes[1, 0].set_ylabel("resident memory\n(MiB)")
    for axis in axes.flat:
        axis.set_ylim(0, 1.4 * axis.get_ylim()[1])
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
