"""Does a packed model say what its float model says? Labels and Dice, case by case, same draws.

    HIDIFF_DATA=... python research/reliability/packed_parity.py runs/drive [--cases 5]

`agreement` is the share of equal pixels among those that either model calls foreground. The float
model differs from itself, too, once its sums are added in another order: `layout` is the float
model with its tensors in the other memory layout (NCHW), the yardstick for what rounding alone does
to signs near zero. `packed_float32`, `_half` and `_int8` are storages of the condition blocks;
`packed_computed_in_int8` and `packed_segmentor_in_RUNTIME` differ from the first by that alone.
Settings that run alone add to what results/packed_parity.json holds of the same model and cases.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from hidiff import experiment, export
from hidiff.diffusion import subset
from hidiff.evaluation import judge, read_truth
from hidiff.prediction import Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

# temperature 0 keeps to the likeliest mask, 1 draws: a flipped bit then changes all that follows
SETTINGS = {
    "as_trained": {},
    "temperature_1": {"temperature": 1.0, "samples": 1},
    "temperature_1_4_samples": {"temperature": 1.0, "samples": 4},
}


def predictors(path: str) -> dict[str, Predictor]:
    """The float model, the same in NCHW, and packed ones, each with one choice of its own."""
    model = experiment.open_model(path)
    found = {"float": experiment.load_predictor(path), "layout": experiment.load_predictor(path)}
    found["layout"].hybrid.to(memory_format=torch.contiguous_format)
    hybrid = found["float"].hybrid
    steps = subset(hybrid.schedule.num_steps, hybrid.schedule.num_steps)
    choices = {
        **{f"packed_{storage}": {"storage": storage} for storage in export.STORAGES},
        "packed_computed_in_int8": {"compute": "int8"},
        **{f"packed_segmentor_in_{runtime}": {"runtime": runtime} for runtime in export.RUNTIMES},
    }
    with tempfile.TemporaryDirectory() as folder:

        def packed(name: str, storage="float32", compute="float32", runtime="torch") -> Predictor:
            file = Path(folder) / f"{name}.safetensors"
            refiner = export.pack_refiner(hybrid.refiner, steps, compute)
            export.save_packed(file, hybrid.segmentor, refiner, model.metadata, storage)
            return experiment.load_predictor(file, segmentor_runtime=runtime)

        for name, choice in choices.items():
            try:
                found[name] = packed(name, **choice)
            except ValueError as error:  # this machine, or this environment, lacks what it needs
                print(f"{name}: left out, {error}")
    return found


def compare(ours, theirs, inside: np.ndarray) -> float:
    """The share of equal pixels where either is foreground."""
    either = ((ours > 0) | (theirs > 0)) & inside
    return float((ours == theirs)[either].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    found = predictors(args.model)
    recipe = experiment.load_recipe(args.model)
    cases = experiment.list_cases(recipe, args.split)[: args.cases]
    facts: dict[str, object] = {
        "model": recipe.name,
        "width": recipe.refiner.width,
        "split": args.split,
        "cases": len(cases),
    }
    file = Path(__file__).parent / "results" / "packed_parity.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    same_run = {**before, **facts} == before
    result = {**(before if same_run else facts), "machine": timing.machine()}
    for setting in args.settings:
        dice: dict[str, list[float]] = {name: [] for name in found}
        same: dict[str, list[float]] = {name: [] for name in found if name != "float"}
        for case in cases:
            truth = read_truth(case, found["float"])
            labels = {}
            for name, predictor in found.items():
                prediction = predictor.predict(str(case.image), name=case.name, **SETTINGS[setting])
                labels[name] = prediction.labels
                rows = judge(prediction, truth, case, predictor, 1.0)
                refined = [row["dice"] for row in rows if row["source"] == "refined"]
                dice[name].append(float(np.nanmean(refined)))
            for name, each in same.items():
                each.append(compare(labels["float"], labels[name], truth.inside))
            print(setting, case.name, {k: round(v[-1], 5) for k, v in same.items()}, flush=True)
        result[setting] = {
            "settings": {**recipe.prediction.model_dump(), **SETTINGS[setting]},
            "agreement_mean": {name: float(np.mean(each)) for name, each in same.items()},
            "agreement_least": {name: min(each) for name, each in same.items()},
            "dice": {name: float(np.mean(each)) for name, each in dice.items()},
            "dice_difference": {
                name: float(np.mean(np.subtract(each, dice["float"])))
                for name, each in dice.items()
                if name != "float"
            },
        }
    timing.write(result, __file__, "packed_parity")


if __name__ == "__main__":
    main()
