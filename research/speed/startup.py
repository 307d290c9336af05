"""Time `hidiff predict` beyond the import of torch and the prediction itself.

    python research/speed/startup.py [--runs 9] [--label LABEL]

Three programs run in turns, each in a fresh process: `import torch`; `hidiff predict vessels
IMAGE`; and the same prediction from Python, which times its own first prediction and its files
alone. Time is the processor's (user and system), on one thread. The result is

    ratio = (predict - prediction) / import torch

of the medians, with the range of the ratios of single turns. The image is drawn here. A row is
added to results/startup.json, or replaces the row of the same label and processor.

To time another checkout, put its src/ first in PYTHONPATH.
"""

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "startup.json"
SIDE = 256  # pixels of the image, a side
WATCHED = ("monai", "scipy", "accelerate", "matplotlib", "nibabel", "h5py", "pydicom")

PREDICTION = """
import sys, time
from pathlib import Path
from hidiff import experiment
from hidiff.prediction.writers.picture import write_prediction

predictor = experiment.load_predictor("vessels")
image, folder = map(Path, sys.argv[1:])
start = time.process_time()
prediction = predictor.predict(image)
write_prediction(
    prediction, folder, stem=image.stem, formats=("png",),
    plane_names=predictor.labels.plane_names, overwrite=True,
)
print("SECONDS", time.process_time() - start)
"""
MODULES = """
import sys
from hidiff.cli import main
try:
    main()
finally:
    print("MODULES", *sys.modules)
"""
FACTS = """
import json, torch, hidiff
from hidiff.suites.hardware import processor
facts = {"processor": processor(), "torch": torch.__version__, "package": hidiff.__file__}
print("FACTS", json.dumps(facts))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--label", default="now")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        row = {"label": arguments.label, **measure(Path(scratch), arguments.runs)}
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    same = ("label", "processor")
    rows = [other for other in rows if any(other[key] != row[key] for key in same)]
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")
    print(json.dumps(row, indent=1))


def measure(scratch: Path, runs: int) -> dict:
    """Run all three in turns, after one run of each that fills the system's file cache."""
    image, masks = draw_eye(scratch / "eye.png"), scratch / "masks"
    predict = ["predict", "vessels", str(image), "--output", str(masks), "--overwrite"]
    facts = json.loads(output_of(["-c", FACTS]).split("FACTS ")[1])
    # as pip does at install
    compileall.compile_dir(Path(facts.pop("package")).parent, quiet=1)
    modules = set(output_of(["-c", MODULES, *predict]).split("MODULES ")[1].split())

    turns = []
    for number in range(runs + 1):
        turn = {
            "import_torch": processor_seconds(["-c", "import torch"]),
            "predict": processor_seconds(["-m", "hidiff", *predict]),
            "prediction": float(
                output_of(["-c", PREDICTION, str(image), str(masks)]).split("SECONDS ")[1]
            ),
        }
        if number:
            turns.append(turn)
            print(number, {name: round(value, 2) for name, value in turn.items()}, flush=True)
    medians = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    ratios = [ratio_of(turn) for turn in turns]
    return {
        **facts,
        "threads": 1,
        "runs": runs,
        "image": f"{SIDE}x{SIDE}",
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratio": round(ratio_of(medians), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "modules": len(modules),
        "imported": [name for name in WATCHED if name in modules],
    }


def ratio_of(seconds: dict[str, float]) -> float:
    return (seconds["predict"] - seconds["prediction"]) / seconds["import_torch"]


def processor_seconds(arguments: list[str]) -> float:
    """User and system time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output_of(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def output_of(arguments: list[str]) -> str:
    """Run Python on one thread and return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, text=True,
        stdout=subprocess.PIPE,
    ).stdout  # fmt: skip


def draw_eye(path: Path) -> Path:
    """Draw a bright disc with darker curved lines, roughly the fundus of an eye."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(rows - SIDE / 2, columns - SIDE / 2) < 0.47 * SIDE
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[disc] = (180, 90, 40)
    for line in range(1, 8):
        wave = 20 * np.sin(columns / 60 * line + line) + SIDE * line / 8
        image[disc & (np.abs(rows - wave) < 1.5)] = (90, 30, 20)
    Image.fromarray(image).save(path)
    return path


if __name__ == "__main__":
    main()
