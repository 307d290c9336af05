"""Do the same recipe and seed give the same row twice?

    python research/reliability/same_rows.py [--recipe research/suites/mini/drive.yaml]

`hidiff benchmark` trains and judges three arms of one seed from nothing, twice, in processes and
folders of their own; all of a row but its times must be equal, and the scores of the single cases.
Left out, the recipe is one of drawn images and networks of width 8.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from hidiff.datasets import SYNTHETIC_LABELS, write_synthetic
from hidiff.recipe import Recipe, change_recipe, make_recipe, read_recipe, write_recipe
from hidiff.suites.rows import MEASURED

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

ARMS = ("stage1", "segmentor_only", "hybrid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[], help="a change of the recipe")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = change_recipe(read_recipe(args.recipe) if args.recipe else drawn(folder), args.set)
        write_recipe(recipe, folder / "recipe.yaml")
        suite = {
            "name": "twice",
            "seeds": [recipe.seed],
            "arms": dict.fromkeys(ARMS),
            "recipes": {recipe.name: {"recipe": str(folder / "recipe.yaml")}},
        }
        (folder / "twice.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
        first, second = (run(folder, name, args.threads) for name in ("first", "second"))
    result = {
        "question": "the same recipe and seed twice: the same rows?",
        "recipe": recipe.name,
        "rows": len(first),
        "equal": sum(left == right for left, right in zip(first, second, strict=True)),
        "dice": {row["arm"]: row["metrics"]["mean"]["dice"] for row, _ in first},
    }
    write({**result, **machine()}, __file__, "same_rows")


def drawn(folder: Path) -> Recipe:
    """A recipe of images that are drawn into the folder."""
    write_synthetic(folder / "data", num_cases=10, size=64, labels="one_class")
    return make_recipe(
        {
            "name": "drawn",
            "data": {
                "path": str(folder / "data"),
                "patch_size": [64, 64],
                "augmentation": "retina",
            },
            "labels": SYNTHETIC_LABELS["one_class"].model_dump(),
            "segmentor": {"options": {"width": 8}},
            "refiner": {"width": 8},
            "training": {"batch_size": 2, "stage1_steps": 60, "stage2_steps": 30},
        }
    )


def run(folder: Path, name: str, threads: int) -> list[tuple[dict, str]]:
    """Train and judge all; each row without its times, and the scores of its cases."""
    words = [sys.executable, "-m", "hidiff", "benchmark", folder / "twice.yaml"]
    words += ["--results", folder / name, "--runs", folder / f"{name}_runs"]
    subprocess.run([*words, "--device", "cpu", "--threads", str(threads)], check=True)
    place = folder / name / "twice"
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    return [
        ({key: row[key] for key in row if key not in MEASURED}, (place / row["cases"]).read_text())
        for row in rows
    ]


if __name__ == "__main__":
    main()
