"""Does one bad file among a thousand cost the other 999?

    python research/reliability/many_images.py [--images 1000]

A folder of small images, one of them cut off, goes through `hidiff predict`: a model of width 8
that was never trained, one step. Counted are the results, and what the run took.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from hidiff import experiment
from hidiff.recipe import make_recipe
from hidiff.training.state import save_model

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

BAD = "bad.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, images, out = (Path(folder, name) for name in ("m.safetensors", "images", "out"))
        write_model(model)
        write_images(images, args.images)
        words = [sys.executable, "-m", "hidiff", "predict", model, images, "--output", out]
        started = time.monotonic()
        done = subprocess.run(
            [*words, "--steps", "1", "--device", "cpu", "--threads", "1"],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = round(time.monotonic() - started)
        written = {file.name for file in out.glob("*_labels.png")}
    wanted = {f"{number:04}_labels.png" for number in range(args.images - 1)}
    result = {
        "question": "one bad file in a folder: are all others done, and is it named?",
        "images": args.images,
        "exit_code": done.returncode,
        "results": len(written),
        "all_others_done": written == wanted,
        "bad_file_named": bool(re.search(rf"{BAD} cannot\s+be\s+read", done.stderr)),
        "seconds": seconds,
    }
    write({**result, **machine()}, __file__, "many_images")


def write_model(file: Path) -> None:
    recipe = make_recipe(
        {
            "name": "many",
            "data": {"path": "images", "patch_size": [64, 64]},
            "labels": {"kind": "one_class", "classes": {"a": [1]}},
            "segmentor": {"options": {"width": 8}},
            "refiner": {"width": 8, "condition": "once"},
        }
    )
    hybrid = experiment.make_hybrid(recipe)
    metadata = {**experiment.checkpoint_metadata(recipe), "stage": "in_turns", "step": "1"}
    save_model(file, hybrid.segmentor, hybrid.refiner, metadata)


def write_images(folder: Path, count: int) -> None:
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(count - 1):
        pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    (folder / BAD).write_bytes((folder / "0000.png").read_bytes()[:40])


if __name__ == "__main__":
    main()
