"""Made-up rows of a suite: patients whose gains are known."""

import numpy as np

from hidiff.metrics import write_csv
from hidiff.suites import Results
from hidiff.suites.rows import VERSION

HERE = {"processor": "P", "threads": 1, "torch": "2", "gpu": "none"}
BANDS = ("up to 9 px", "over 9 px")


def add(results: Results, arm: str, gain: float, patients: int = 20, **changes) -> None:
    """Add a row of patients whose Dice is their own plus `gain` (`small` in the smallest band)."""
    scores = {"dice": {"prior": [0.6 + gain, 0.5, 0.7]}}
    row = {
        "version": VERSION, "suite": "made_up", "data": "eyes", "arm": arm, "seed": 0,
        "evaluation": "test", "recipe": "eyes", "hardware": HERE, "judged_sha256": "same",
        "look": {}, "changes": {}, "unit": "px", "num_cases": patients, "num_groups": patients,
        "hidiff": "0", "size_kind": "objects", "seconds_per_case": 1.0, "steps": {"stage1": 2},
        "flops": {"stage1": 3e15}, "images": {"stage1": 8}, "train_seconds": {"stage1": 60.0},
        "metrics": {"vessel": scores, "mean": scores}, **changes,
    }  # fmt: skip
    own = np.random.default_rng(0).uniform(0.5, 0.7, patients)
    jitter = np.random.default_rng(len(results.rows)).normal(0, 0.005, patients)
    keys = [
        {"case": f"{row['evaluation']}{n}", "group": str(n), "class": "vessel", "source": "prior"}
        for n in range(patients)
    ]
    file = f"{len(results.rows)}.csv"
    others = {"hd95": 2.0, "sensitivity": 0.5, "precision": 0.5}
    cases = [{**key, "dice": own[n] + gain + jitter[n], **others} for n, key in enumerate(keys)]
    write_csv(cases, results.folder / "cases" / file)
    extra = changes.get("small", 0.0)
    sizes = [
        {**key, "band": band, "count": 3, "object_recall": 0.5, "object_dice": dice}
        for n, key in enumerate(keys)
        for band, dice in zip(BANDS, (own[n] + extra + jitter[n], own[n]), strict=True)
    ]
    write_csv(sizes, results.folder / "sizes" / file)
    results.add({**row, "cases": f"cases/{file}", "sizes": f"sizes/{file}"})
