"""Add to the facts and the card of a model that ships already, without its run.

    HIDIFF_DATA=... python research/pages/shipped_again.py nodules --set data.crop_mm=0.7 --scales
    HIDIFF_DATA=... python research/pages/shipped_again.py vessels --rival runs/vessels_alone

`--set` changes settings of the recipe in the file, which no weight depends on; `--marks` measures
marks and `--scales` widths of pixels, as cards/NAME.yaml names them; `--rival` compares the scores
of single images in the facts with those of the same segmentor without a refiner.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import torch
import yaml

from hidiff import experiment, models, weights
from hidiff.recipe import change_recipe
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.model_card import WORDS, Facts, write_card
from research.pages.shipped_marks import measure_marks
from research.pages.shipped_models import BEFORE, EQUAL, judge_rivals
from research.pages.shipped_samples import measure_samples
from research.pages.shipped_scales import measure_scales


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", choices=sorted(file.stem for file in WORDS.glob("*.yaml")))
    parser.add_argument("--set", action="append", default=[], help="change of a setting")
    parser.add_argument("--marks", action="store_true", help="measure marks of a person")
    parser.add_argument("--scales", action="store_true", help="measure other widths of a pixel")
    parser.add_argument("--samples", action="store_true", help="measure samples against raters")
    parser.add_argument("--rival", type=Path, help="run of the segmentor alone, equal FLOPs")
    parser.add_argument("--before", type=Path, help="stage1.safetensors of the model's own run")
    parser.add_argument("--folder", type=Path, default=models.FOLDER, help="where the model lies")
    args = parser.parse_args()
    torch.set_num_threads(1)
    made = models.ShippedModel(args.folder / f"{args.name}.safetensors")
    words = yaml.safe_load((WORDS / f"{args.name}.yaml").read_text(encoding="utf-8"))
    facts = made.facts
    if args.set:
        change_file(made.file, args.set, words["notice"], facts)
    predictor = experiment.load_predictor(made.file)
    recipe = experiment.load_recipe(made.file)
    rivals = {BEFORE: args.before, EQUAL: args.rival}
    rivals = {name: path for name, path in rivals.items() if path is not None}
    for test, judged in zip(words["tests"], facts["tests"], strict=True):
        own = change_recipe(recipe, [f"data.{k}={v}" for k, v in test["data"].items()])
        cases = experiment.list_cases(own, "test")
        if args.marks and "marks" in test:
            judged["marks"] = measure_marks(predictor, cases, test["marks"], test["size"])
        if args.scales and "scales" in test:
            judged["scales"] = measure_scales(predictor, cases, test["scales"])
        if args.samples and "samples" in test:
            judged["samples"] = measure_samples(predictor, cases, test["samples"])
        if rivals:
            found = judge_rivals(rivals, cases, judged["dice"], predictor.settings)
            judged["rivals"] = judged.get("rivals", {}) | found
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    with atomic_write(made.file.with_suffix(".json")) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    write_card(made, words, recipe)


def change_file(file: Path, changes: list[str], notice: str, facts: Facts) -> None:
    """Change settings of the recipe in a model's file, and its notice; weights stay as they are."""
    tensors, metadata = weights.load(file)
    recipe = change_recipe(experiment.load_recipe(file), changes)
    weights.save(file, tensors, {**metadata, "recipe": recipe.model_dump_json(), "notice": notice})
    content = file.read_bytes()
    facts["file"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    facts["notice"] = notice


if __name__ == "__main__":
    main()
